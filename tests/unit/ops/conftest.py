"""One tuned run for all tests of what is shipped: training it takes seconds, so nobody may change it."""

import pytest

from learned_run import PAIRS, make_run
from slm.ops.parity.reference import Reference
from slm.recipe import RunFolder


@pytest.fixture(scope="session")
def workplace(tmp_path_factory):
    return tmp_path_factory.mktemp("shipped")


@pytest.fixture(scope="session")
def tuned(workplace) -> RunFolder:
    return make_run("llama", workplace)


@pytest.fixture(scope="session")
def reference(tuned) -> Reference:
    return Reference(tuned, questions=len(PAIRS))
