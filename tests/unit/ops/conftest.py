"""One tuned run for all tests of what is shipped: training it takes seconds, so nobody may change it."""

import pytest
import torch

from learned_run import PAIRS, make_run
from slm.ops.parity.reference import Reference
from slm.recipe import RunFolder


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("shipped")


@pytest.fixture(scope="session")
def alone():
    """One thread, as in every unit test, also for fixtures that are made before the first."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tuned(workplace, alone) -> RunFolder:
    return make_run("llama", workplace)


@pytest.fixture(scope="session")
def endless(workplace, alone) -> RunFolder:
    """The same run, trained without the token that ends an answer."""
    return make_run("llama", workplace, name="endless", end=False)


@pytest.fixture(scope="session")
def reference(tuned) -> Reference:
    return Reference(tuned, questions=len(PAIRS))
