"""Tiny models gain nothing from threads; on a busy machine, threads that wait for one another cost seconds a test."""

import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
