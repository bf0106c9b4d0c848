"""A run's summary and curves come from its files alone: finished or not, watched or not, also from an older slm."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from slm.errors import DataError
from slm.recipe import Recipe, RunFolder, to_yaml
from slm.train.curves import draw_curves
from slm.train.summary import describe, duration, print_summary, smoothed, smoothing, summarise

STEPS = 40


def make_run(
    folder: Path, *, steps: int = STEPS, card: bool = True, watched: int = 0, name: str = "tuned"
) -> RunFolder:
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    recipe = Recipe(
        name=name, model={"name": "smollm2-135m"}, data={"train": "roastery:train"}, evaluate={"suite": "roastery:test"}
    )
    run.recipe.write_text(to_yaml(recipe))
    rows = [
        {
            "step": step,
            "loss": 4.0 - 0.05 * step,
            "grad_norm": 1.0 / step,
            "learning_rate": 1e-4,
            "seconds": 2.0 if step % 2 else 4.0,
            "target_tokens_per_s": 30.0 if step % 2 else 15.0,
            "tokens_per_s": 300.0 if step % 2 else 150.0,
            "padded_tokens_per_s": 300.0 if step % 2 else 150.0,
            "mfu": 0.3,
            "data_wait": 0.01,
            "transfer": 0.0,
            "peak_memory_mb": 1000.0 + step,
        }
        for step in range(1, steps + 1)
    ]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    if card:
        totals = {"steps": STEPS, "kept_step": 30, "seconds": 130.0, "examples": 240}
        run.card.write_text(json.dumps({"adapter": "abcdef0123456789", "totals": totals}))
    if watched:
        measured = [
            {
                "step": 10 * number,
                "accuracy": number / 10,
                "right": number,
                "total": 10,
                "loss": 2.0 - 0.1 * number if number < watched else 2.0,
                "completion_tokens": 50,
                "seconds": 1.5,
            }
            for number in range(1, watched + 1)
        ]
        run.watch.write_text("".join(json.dumps(row) + "\n" for row in measured))
    return run


def test_a_finished_run(tmp_path):
    one = summarise(make_run(tmp_path / "tuned-1234abcd", watched=4))
    assert (one.run, one.recipe, one.model, one.state) == ("tuned-1234abcd", "tuned", "smollm2-135m", "done")
    assert (one.step, one.steps, one.kept_step, one.seconds) == (STEPS, STEPS, 30, 130.0)
    assert one.examples_per_s == 240 / (20 * 2 + 20 * 4)
    assert one.tokens_per_s == (20 * 2 * 300 + 20 * 4 * 150) / 120, "by time, not by step"
    assert (one.mfu, one.data_wait, one.transfer, one.peak_memory_mb) == (0.3, 0.01, 0.0, 1000.0 + STEPS)
    assert one.first_loss == pytest.approx((3.95 + 3.90) / 2)
    assert one.last_loss == pytest.approx((2.05 + 2.00) / 2)
    assert (one.best_accuracy, one.best_accuracy_step) == (0.4, 40)
    assert one.relation.measurements == 4
    assert one.relation.lowest_loss_step == 30
    text = dict(describe(one))
    assert text["loss"] == "3.9250 → 2.0250 (smoothed)"
    assert text["best accuracy"] == "40.0 % at step 40, held-out"
    assert text["loss and accuracy"] == (
        "Spearman +0.20 over 4 measurements; lowest loss at step 30, best accuracy at step 40"
    )
    assert text["tokens/s"] == "20 target, 200 real, 200 padded"
    assert text["weights"] == "of step 30"
    assert text["time"] == "2 min 10 s"
    assert text["adapter"] == "abcdef012345"


def test_the_screen_is_short_and_on_stderr(tmp_path, capsys):
    print_summary(summarise(make_run(tmp_path / "tuned", watched=5)))
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) <= 20
    assert max(map(len, err.splitlines())) <= 110


def test_fewer_than_four_measurements_say_nothing(tmp_path):
    one = summarise(make_run(tmp_path / "tuned", watched=3))
    assert one.relation is None
    assert dict(describe(one))["loss and accuracy"] == "too few points to say how they relate (3)"
    assert "loss and accuracy" not in dict(describe(summarise(make_run(tmp_path / "unwatched"))))


def test_a_run_that_was_stopped_in_the_middle_of_a_line(tmp_path):
    run = make_run(tmp_path / "tuned", steps=7, card=False)
    with run.metrics.open("a") as handle:
        handle.write('{"step": 8, "lo')
    one = summarise(run)
    assert (one.state, one.step, one.adapter, one.examples_per_s) == ("at step 7 of ?", 7, None, None)
    assert one.seconds == sum(2.0 if step % 2 else 4.0 for step in range(1, 8))
    rows = [json.loads(line) | {"steps": 40, "examples": 3} for line in run.metrics.read_text().splitlines()[:7]]
    run.metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    one = summarise(run)
    assert one.state == "at step 7 of 40"
    assert one.examples_per_s == round(21 / one.seconds, 3)


def test_a_run_that_has_not_started_and_one_of_an_older_slm(tmp_path):
    run = make_run(tmp_path / "tuned", card=False)
    run.metrics.unlink()
    assert summarise(run).state == "not started"
    assert not draw_curves(run)
    old = make_run(tmp_path / "old")
    old.recipe.write_text("name: old\nmodel: {name: m, key_that_is_gone: 1}\n")
    kept = ("step", "loss", "grad_norm", "learning_rate", "seconds", "tokens_per_s")
    rows = [json.loads(line) for line in old.metrics.read_text().splitlines()]
    old.metrics.write_text("".join(json.dumps({key: row[key] for key in kept}) + "\n" for row in rows))
    one = summarise(old)
    assert (one.recipe, one.model, one.mfu, one.peak_memory_mb) == ("old", "m", None, None)
    assert draw_curves(old)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("metrics.jsonl", '{"step": 1}\nbroken\n', "metrics.jsonl:2: not readable as JSON"),
        ("watch.jsonl", '{"step": 1}\n', "watch.jsonl:1: key"),
        ("card.json", "{", "card.json: not readable as JSON"),
        ("card.json", "[]", "card.json: not a JSON object"),
        ("recipe.yaml", "a: [", "recipe.yaml: not readable as YAML"),
        ("recipe.yaml", "text", "recipe.yaml: not a recipe"),
    ],
)
def test_a_damaged_file_is_located(name, text, message, tmp_path):
    run = make_run(tmp_path / "tuned")
    (run.path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        summarise(run)


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(DataError, match="not a training run"):
        summarise(RunFolder(tmp_path))


def test_smoothing_is_a_mean_over_about_a_twentieth():
    assert smoothing(5) == 1
    assert smoothing(100) == 5
    assert smoothed([float(number**2) for number in range(60)])[:3] == [0.5, 5 / 3, 14 / 3]
    assert smoothed([0.0, 5.0, 1.0]) == [0.0, 5.0, 1.0]
    assert smoothed([]) == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize("watched", [0, 4])
def test_curves_show_what_there_is_and_are_the_same_bytes_again(watched, tmp_path):
    run = make_run(tmp_path / "tuned-1234abcd", watched=watched)
    assert draw_curves(run)
    svg, png = run.curves.read_bytes(), run.curves.with_suffix(".png").read_bytes()
    texts = {element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")}  # noqa: S314
    assert {"tuned-1234abcd", "loss per target token", "learning rate", "gradient norm", "tokens/s"} <= texts
    assert ("held-out accuracy, %" in texts) == bool(watched)
    assert b"<dc:date>" not in svg
    assert str(tmp_path).encode() not in svg
    assert png.startswith(b"\x89PNG")
    assert draw_curves(run)
    assert (run.curves.read_bytes(), run.curves.with_suffix(".png").read_bytes()) == (svg, png)


WITHOUT = """
import sys
from pathlib import Path
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2:]:
            raise ImportError(name + " is not here")
sys.meta_path.insert(0, Refuse())
from slm.recipe import RunFolder
from slm.train.curves import draw_curves
from slm.train.summary import summarise
run = RunFolder(Path(sys.argv[1]))
print(summarise(run).state, draw_curves(run))
"""


@pytest.mark.parametrize(
    ("missing", "printed"),
    [(["torch", "transformers", "peft", "accelerate"], "done True"), (["matplotlib"], "done False")],
)
def test_neither_torch_nor_matplotlib_is_needed(missing, printed, tmp_path):
    run = make_run(tmp_path / "tuned", watched=4)
    command = [sys.executable, "-c", WITHOUT, str(run.path), *missing]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == printed, done.stderr
