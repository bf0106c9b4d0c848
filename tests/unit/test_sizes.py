"""Sizes in bytes: the units that people write, and nothing else."""

import pytest

from slm.sizes import parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("1.5 GiB", 1_610_612_736), ("250kb", 250_000), ("12", 12), ("3G", 3_000_000_000)],
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MB", "five", "5 XB", "-3MB", "h100", "a100-80"])
def test_what_is_no_size(text):
    assert parse_size(text) is None
