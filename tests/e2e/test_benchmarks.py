"""The training benchmarks run on tiny models: every figure is there, and the systems train the same."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from command import ROOT, TINY_RUN, environment
from slm.data import load_dataset

SYSTEMS = ["ours", "padded", *(["trl", "trl-packed"] if find_spec("trl") and find_spec("datasets") else [])]
POSITIVE = [
    "seconds",
    "s_per_example",
    "examples_per_s",
    "target_tokens_per_s",
    "tokens_per_s",
    "computed_tokens_per_s",
    "peak_mb",
    "ours_is_faster",
    "ours_memory_share",
]


def run(*command: str, expect: int = 0, **variables: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, env=environment(**variables), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == expect, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + (done.stderr if expect else "")


def rows(file: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_the_systems_train_the_same(tiny_llama, tmp_path):
    options = ["--model", str(tiny_llama), "--data", "roastery:train", "--steps", "2", "--examples-per-step", "4"]
    options += [
        "--logs",
        str(tmp_path),
        "--out",
        str(tmp_path / "report.json"),
        "--systems",
        ",".join([*SYSTEMS, "trl-liger"]),
    ]
    report = json.loads(run(sys.executable, "benchmarks/train.py", *options, "data.limit=48"))
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert set(report["left_out"]) == {"trl-liger"}  # it needs a GPU, and is named rather than forgotten
    assert [record["system"] for record in report["systems"]] == SYSTEMS
    logs = {name: rows(tmp_path / f"{name}.jsonl") for name in SYSTEMS}
    for record in report["systems"]:
        assert all(record[key] > 0 for key in POSITIVE), record
        assert record["peak_mb"] >= record["loaded_mb"] > 0
        assert record["gradient_difference"] < 1e-4
        assert record["loss_difference"] < 1e-3
        log = logs[record["system"]]
        assert [row["examples"] for row in log] == report["examples_by_step"] == [4, 4]
        assert [row["target_tokens"] for row in log] == [row["target_tokens"] for row in logs["ours"]]
        assert [row["loss"] for row in log] == pytest.approx([row["loss"] for row in logs["ours"]], rel=1e-3)
    # Each computes what it says: ours the context once, the others one for each example.
    assert logs["ours"][0]["computed_tokens"] < logs["ours"][0]["tokens"] <= logs["padded"][0]["computed_tokens"]

    show = "import json, sys; from training.report import show; show(json.load(open(sys.argv[1])))"
    table = run(sys.executable, "-c", show, str(tmp_path / "report.json"), PYTHONPATH="benchmarks", COLUMNS="200")
    assert all(record["about"] in table for record in report["systems"])


def test_the_distance_from_exact_arithmetic(tiny_llama):
    options = ["--model", str(tiny_llama), "--data", "roastery:train", "--batch-tokens", "800"]
    row = json.loads(run(sys.executable, "benchmarks/exact.py", *options))
    assert row["examples"] > 1
    assert row["losses"] == pytest.approx(dict.fromkeys(row["losses"], row["losses"]["exact"]), rel=1e-5)
    assert 0 < row["ours from exact"] < 1e-5
    assert 0 < row["library from exact"] < 1e-5


def test_parts_of_the_prompt_are_left_out_in_training_and_in_answering(tiny_llama, tmp_path):
    whole = load_dataset("roastery:train")
    database = str(whole.contexts["roastery"])
    lines = [
        {"question": one.question, "sql": one.targets[0].replace("SELECT", "select"), "db": database}
        for one in whole.examples[:6]
    ]
    (tmp_path / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    options = ["quickstart", f"model.name={tiny_llama}", *TINY_RUN, f"data.train={tmp_path / 'mine.jsonl'}"]
    options += ["--suite", "roastery:test", "--limit", "4"]
    options += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "report.json")]
    report = json.loads(run(sys.executable, "benchmarks/inputs.py", *options))
    assert report == json.loads((tmp_path / "report.json").read_text())
    found = {(row["without"], row["constrained"]): row for row in report["rows"]}
    parts = (None, "canonical", "values", "keys")
    assert list(found) == [(part, constrained) for part in parts for constrained in (False, True)]
    assert all(row["accuracy"]["total"] == 4 for row in found.values())
    tokens = {part: found[part, True]["prompt_tokens"] for part in parts}
    assert tokens["canonical"] == tokens[None]
    assert tokens["values"]["question"] < tokens[None]["question"]
    assert tokens["keys"]["context"] < tokens[None]["context"]
    adapters = [path.read_bytes() for path in tmp_path.glob("runs/**/adapter_model.safetensors")]
    assert len(set(adapters)) == len(adapters) == len(parts), "each training saw something else"


def test_settings_are_tried_on_questions_held_out_of_training(tiny_llama, tmp_path):
    tried = ["", "train.learning_rate=1e-5", "lora.rank=2 train.max_steps=1"]
    options = ["quickstart", f"model.name={tiny_llama}", *TINY_RUN, "--questions", "4"]
    options += ["--try", tried[1], "--try", tried[2]]
    options += ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "report.json")]
    report = json.loads(run(sys.executable, "benchmarks/search.py", *options))
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert report["examples"] < 24 - 4 + 1
    assert "held out" in report["scored_on"]
    rows = {(row["tried"], row["constrained"]): row for row in report["rows"]}
    assert list(rows) == [(each, constrained) for each in tried for constrained in (False, True)]
    assert all(row["accuracy"]["total"] == 4 for row in rows.values())
    assert rows["", True]["against_recipe"] is None
    assert rows[tried[1], True]["against_recipe"]["total"] == 4
    assert rows[tried[2], True]["steps"] == 1 < rows["", True]["steps"]
    adapters = [path.read_bytes() for path in tmp_path.glob("runs/*/adapter/adapter_model.safetensors")]
    assert len(set(adapters)) == len(adapters) == len(tried)


def test_what_holds_other_questions_out_is_not_tried(tmp_path):
    options = ["quickstart", "--try", "train.learning_rate=1e-5", "--try", "data.limit=20", "--runs", str(tmp_path)]
    told = run(sys.executable, "benchmarks/search.py", *options, expect=1)
    assert "--try 'data.limit=20': other data hold out other questions" in told
    assert not list(tmp_path.iterdir())


def test_walks_through_a_grammar_are_queries():
    out = run(sys.executable, "benchmarks/constrain.py", "walks", "roastery:test", "--walks", "5")
    row = json.loads(out.splitlines()[-1])
    assert (row["databases"], row["finished"], row["wrong"]) == (1, 5, 0)


def test_what_the_systems_cannot_do_alike_is_refused(tiny_llama):
    command = [sys.executable, "benchmarks/train.py", "--model", str(tiny_llama), "train.neftune=5", "lora.dropout=0.1"]
    assert "train.neftune, lora.dropout" in run(*command, expect=2)


@pytest.fixture
def speedrun(tmp_path):
    """Runs `scripts/gpu_speedrun.sh` without a GPU, at its smallest; returns its results by file name."""

    def start(*arguments: str, expect: int = 0) -> dict[str, object]:
        folders = {"RESULTS": str(tmp_path / "results"), "RUNS": str(tmp_path / "runs")}
        small = {"DEVICE": "cpu", "SIZE": "tiny", "PYTHON": sys.executable, "PATH": os.environ["PATH"]}
        run("scripts/gpu_speedrun.sh", *arguments, expect=expect, **folders, **small)
        return {file.stem: json.loads(file.read_text()) for file in (tmp_path / "results").glob("*.json")}

    return start


def test_speedrun_compare(speedrun):
    report = speedrun("compare", "gemma3-270m")["compare-gemma3-270m"]
    assert [record["system"] for record in report["systems"]] == ["ours", "padded"]


@pytest.mark.parametrize("shape", ["phi3-mini", "gemma2-2b", "gemma3-1b"])
def test_speedrun_throughput(speedrun, shape):
    records = speedrun("throughput", shape)[f"throughput-{shape}"]["records"]
    assert [record["packing"] for record in records] == ["shared", "none"]
    for record in records:
        assert 0 < record["mfu"] < 1
        assert record["target_tokens_per_s"] > 0


def test_speedrun_spider_trains_and_scores(speedrun):
    before, after = speedrun("spider", "smollm2-135m")["spider-smollm2-135m"]
    assert (before["tuned"], after["tuned"]) == (False, True)
    assert after["accuracy"]["total"] == 4


def test_speedrun_knows_what_it_can_do(speedrun):
    assert speedrun("compare", "gpt-5", expect=2) == {}
    assert speedrun(expect=2) == {}


def test_the_load_client_is_held_against_the_truth(tmp_path):
    options = [
        "--streams",
        "1,16",
        "--tokens",
        "16",
        "--first-ms",
        "5",
        "--gap-ms",
        "3",
        "--out",
        tmp_path / "report.json",
    ]
    report = json.loads(run(sys.executable, "benchmarks/bench.py", *map(str, options), "--no-stall"))
    assert report == json.loads((tmp_path / "report.json").read_text())
    one, more = (load["slm"] for load in report["loads"])
    assert (one["answers"], one["tokens"]) == (2, 32)
    assert (more["answers"], more["tokens"]) == (32, 512)
    assert one["cpu_us_per_token"] is None, "too few tokens to tell"
    for found in (one, more):
        assert found["longest_gap_ms"] > 2
        errors = [found[name]["p50"] for name in ("first_token_ms", "every_piece_ms", "between_tokens_ms")]
        assert all(0 <= error < 50 for error in errors), "of what was really written, even on a busy machine"
