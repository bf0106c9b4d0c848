"""Every test here needs a CUDA device and skips without one."""

import pytest
import torch


@pytest.fixture
def device() -> torch.device:
    """The GPU."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda")
