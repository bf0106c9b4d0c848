"""`slm runs`: a table for people, JSON for programs, and errors that say what is there."""

import json

import pytest
from typer.testing import CliRunner

from slm.cli.runs import runs_app
from slm.errors import DataError, InputError
from slm.recipe import Recipe, RunFolder, to_yaml


def make_run(folder, *, name="tuned", done=True, watched=False, **train) -> None:
    run = RunFolder(folder)
    folder.mkdir(parents=True)
    recipe = Recipe(
        name=name,
        description=f"about {folder.name}",
        model={"name": "smollm2-135m"},
        data={"train": "roastery:train"},
        train=train,
        evaluate={"suite": "roastery:test"},
    )
    run.recipe.write_text(to_yaml(recipe))
    row = {"loss": 1.25, "grad_norm": 1.0, "learning_rate": 1e-4, "seconds": 2.0, "tokens_per_s": 1234.5, "mfu": 0.317}
    run.metrics.write_text("".join(json.dumps({"step": step, **row}) + "\n" for step in (1, 2)))
    if done:
        totals = {"steps": 2, "seconds": 75.0, "examples": 8}
        run.card.write_text(json.dumps({"adapter": "abcdef0123456789", "totals": totals}))
        (run.path / "results").mkdir()
        result = {"suite": "roastery:test", "accuracy": {"value": 0.75}}
        run.result("roastery:test").write_text(json.dumps(result))
    if watched:
        values = {
            "step": 2,
            "accuracy": 0.5,
            "right": 1,
            "total": 2,
            "loss": 1.0,
            "completion_tokens": 9,
            "seconds": 1.0,
        }
        run.watch.write_text(json.dumps(values) + "\n")


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    make_run(folder / "tuned-1111aaaa", watched=True)
    make_run(folder / "tuned-2222bbbb", done=False, learning_rate=1e-3, optimizer="lion")
    (folder / "smollm2-135m-untuned-3333cccc").mkdir()
    return folder


def invoke(*arguments):
    done = CliRunner().invoke(runs_app, [*map(str, arguments)])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


def test_the_list_has_training_runs_alone(runs):
    first, second = json.loads(invoke("--runs", runs).stdout)
    assert first == {
        "run": "tuned-1111aaaa",
        "recipe": "tuned",
        "model": "smollm2-135m",
        "state": "done",
        "loss": 1.25,
        "best_accuracy": 0.5,
        "tokens_per_s": 1234.5,
        "mfu": 0.317,
        "peak_memory_mb": None,
        "seconds": 75.0,
        "adapter": "abcdef012345",
    }
    assert (second["run"], second["state"]) == ("tuned-2222bbbb", "at step 2 of ?")


def test_on_a_terminal_figures_have_units(runs, monkeypatch, capsys):
    from slm.cli.runs import compare, show

    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "160")
    compare(["tuned-1111aaaa", "tuned-2222bbbb"], runs)
    show("tuned-1111aaaa", runs)
    out = capsys.readouterr().out
    for text in ("1 min 15 s", "50.0%", "31.7%", "1,234", "1.2500 → 1.2500 (smoothed)", "accuracy on roastery:test"):
        assert text in out


def test_an_empty_folder_is_an_empty_list(tmp_path):
    done = invoke("--runs", tmp_path)
    assert json.loads(done.stdout) == []
    assert "no runs in" in done.stderr


def test_comparing_shows_only_what_differs_then_the_figures(runs):
    rows = json.loads(invoke("compare", "tuned-1111aaaa", runs / "tuned-2222bbbb", "--runs", runs).stdout)
    assert rows[:3] == [
        {"key": "train.optimizer", "tuned-1111aaaa": "adamw", "tuned-2222bbbb": "lion"},
        {"key": "train.learning_rate", "tuned-1111aaaa": 2e-4, "tuned-2222bbbb": 1e-3},
        {"key": "state", "tuned-1111aaaa": "done", "tuned-2222bbbb": "at step 2 of ?"},
    ]
    by_key = {row["key"]: row for row in rows}
    assert by_key["accuracy on roastery:test"] == {
        "key": "accuracy on roastery:test",
        "tuned-1111aaaa": 0.75,
        "tuned-2222bbbb": None,
    }
    assert not {"description", "name", "run", "model"} & set(by_key)


def test_runs_of_one_name_in_two_folders_stay_apart(runs, tmp_path):
    make_run(tmp_path / "other" / "tuned-1111aaaa", epochs=3.0)
    other = str(tmp_path / "other" / "tuned-1111aaaa")
    first, *_ = json.loads(invoke("compare", "tuned-1111aaaa", other, "--runs", runs).stdout)
    assert first == {"key": "train.epochs", "tuned-1111aaaa": 1.0, other: 3.0}


@pytest.mark.parametrize("name", ["losses.svg", "losses.png"])
def test_comparing_draws_the_losses_of_all_runs(runs, tmp_path, name):
    picture = tmp_path / name
    invoke("compare", "tuned-1111aaaa", "tuned-2222bbbb", "--runs", runs, "--picture", picture)
    if picture.suffix == ".svg":
        drawn = picture.read_text()
        assert "train.optimizer=adamw, train.learning_rate=0.0002" in drawn
        assert "train.optimizer=lion, train.learning_rate=0.001" in drawn
    else:
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_runs_that_differ_in_much_or_in_nothing_are_drawn_by_name(runs, tmp_path):
    make_run(runs / "tuned-4444dddd", learning_rate=1e-3, epochs=3.0, batch_tokens=512, seed=7)
    make_run(runs / "tuned-5555eeee")
    for other in ("tuned-4444dddd", "tuned-5555eeee"):
        invoke("compare", "tuned-1111aaaa", other, "--runs", runs, "--picture", tmp_path / "losses.svg")
        assert other in (tmp_path / "losses.svg").read_text()


def test_a_picture_of_another_kind_is_refused(runs, tmp_path):
    with pytest.raises(InputError, match=r"losses.pdf: not a kind of picture"):
        invoke("compare", "tuned-1111aaaa", "tuned-2222bbbb", "--runs", runs, "--picture", tmp_path / "losses.pdf")


def test_no_steps_no_picture(runs, tmp_path):
    for name in ("tuned-1111aaaa", "tuned-2222bbbb"):
        (runs / name / "metrics.jsonl").unlink()
    picture = tmp_path / "losses.svg"
    done = invoke("compare", "tuned-1111aaaa", "tuned-2222bbbb", "--runs", runs, "--picture", picture)
    assert "no picture: that needs at least one step" in done.stderr
    assert not picture.exists()


def test_showing_a_run_draws_its_curves(runs):
    done = invoke("show", "tuned-1111aaaa", "--runs", runs)
    (shown,) = json.loads(done.stdout)
    assert shown["accuracies"] == {"roastery:test": 0.75}
    assert shown["last_loss"] == 1.25
    assert (runs / "tuned-1111aaaa" / "curves.svg").is_file()
    assert "curves.svg" in done.stderr


def test_a_folder_that_is_no_run_is_an_error_that_says_what_there_is(runs):
    with pytest.raises(DataError) as raised:
        invoke("show", "tuned-1111aaab", "--runs", runs)
    assert "tuned-1111aaab: not a training run" in str(raised.value)
    assert "such as tuned-1111aaaa" in str(raised.value)
    with pytest.raises(DataError, match="not a training run"):
        invoke("show", runs / "smollm2-135m-untuned-3333cccc", "--runs", runs)
    with pytest.raises(DataError, match="no such folder"):
        invoke("--runs", runs / "nowhere")
    with pytest.raises(InputError, match="only one run"):
        invoke("compare", "tuned-1111aaaa", "--runs", runs)
