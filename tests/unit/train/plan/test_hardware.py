"""The sheet of GPUs loads or says what is wrong with it, and a wrong name gets the nearest right ones."""

import pytest

from slm.errors import InputError, RecipeError
from slm.train.plan.hardware import find_device, read_sheet, this_device


def test_the_shipped_sheet_has_the_gpus_of_the_help_with_their_sources():
    gpus = {gpu.name: gpu for gpu in read_sheet().gpus}
    assert list(gpus) == ["t4", "l4", "a10g", "a100-40", "a100-80", "h100", "h200"]
    assert all(gpu.data_sheet.startswith("https://") and gpu.memory_source for gpu in gpus.values())
    assert gpus["t4"].bf16_flops is None, "Turing multiplies no bfloat16"
    assert gpus["a100-80"].bf16_flops == 312e12


def test_a_gpu_by_name_has_less_memory_than_its_title_says():
    device = find_device("A100-80")
    assert device.on_gpu
    assert not device.here
    assert 79e9 < device.memory_bytes < 80 * 2**30
    assert 0 < device.context_bytes < 1e9


def test_a_size_is_a_gpu_of_which_no_more_is_known():
    assert (find_device("16GB").memory_bytes, find_device("1.5 GiB").memory_bytes) == (16 * 10**9, 3 * 2**29)
    assert find_device("16gb").bf16_flops is None


def test_a_wrong_name_gets_the_nearest_right_ones():
    with pytest.raises(InputError, match=r"--gpu h10: no such GPU; did you mean h100.*\n  expected: one of t4, l4"):
        find_device("h10")


def test_without_a_name_it_is_this_machine():
    device = find_device(None)
    assert device == this_device()
    assert device.here
    assert device.memory_bytes > 1e8


ROW = """
  - {name: big, title: Big, memory_gib: 9, memory_source: me, bf16_flops: 1e12, bandwidth: 1e9, data_sheet: x,
     usd_per_hour: 1.0, price_source: SOURCE, price_date: 2026-05-07}
"""


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("context_gib: 1\ngpus:" + ROW.replace("SOURCE", "null"), "a price needs its price_source"),
        ("context_gib: 1\ngpus:" + ROW.replace("big,", "big, color: red,"), "Extra inputs"),
        ("context_gib: 1\ngpus:" + ROW + ROW, "named more than once: big"),
        ("context_gib: 0\ngpus:" + ROW, "context_gib"),
        ("{", "cannot be read"),
    ],
)
def test_a_sheet_that_is_wrong_is_refused_with_its_place(tmp_path, text, problem):
    file = tmp_path / "hardware.yaml"
    file.write_text(text)
    with pytest.raises(RecipeError, match=problem) as error:
        read_sheet(file)
    assert str(file) in str(error.value)
