"""The wheel holds the package and the data it needs, and works away from the checkout."""

import os
import subprocess
import sys
import zipfile

import pytest

from command import ROOT


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--quiet", "--wheel-dir", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("the package index that builds need is not reachable")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("slm-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_it_holds_only_slm(unpacked):
    assert {path.name.split("-")[0] for path in unpacked.iterdir()} == {"slm"}
    shipped = unpacked / "slm/_shipped"
    for name in ("recipes/quickstart.yaml", "configs/models.yaml", "eval/suites/roastery/test.jsonl"):
        assert (shipped / name).read_bytes() == (ROOT / name).read_bytes()


@pytest.mark.parametrize("command", [["recipe", "check", "quickstart"], ["models", "list"], ["suites", "list"]])
def test_it_works_away_from_the_checkout(unpacked, tmp_path, command):
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import slm.cli; print(slm.__file__); slm.cli.main()", *command],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(unpacked)), "another slm was imported"
