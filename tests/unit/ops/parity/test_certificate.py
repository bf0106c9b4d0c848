"""A certificate is about certain files: any other content of the folder has none."""

import pytest

from slm.ops.parity import BOUNDS, CERTIFICATE, Certificate, certificate_of
from slm.ops.parity.certificate import Check, Closeness, form_files, write_certificate


def make_certificate(**changes) -> Certificate:
    fields = {
        "verdict": "same",
        "reason": "8 of 8 answers are the same",
        "run": "tiny-1a2b3c4d",
        "form": "merged",
        "adapter": "a" * 64,
        "model": "b" * 64,
        "suite": "roastery:test",
        "questions_fingerprint": "c" * 64,
        "closeness": Closeness(answers=8, same_answers=8, tokens=80, same_tokens=80, kl_mean=1e-9, kl_max=1e-8),
        "accuracy": None,
        "checks": (Check(name="weights", outcome="pass", detail="all of them"),),
        "bounds": BOUNDS,
        "files": {},
        "code": {"version": "0.1.0", "commit": None},
        "versions": {"python": "3.11"},
    }
    return Certificate(**(fields | changes))


@pytest.fixture
def certified(tmp_path):
    (tmp_path / "form.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    write_certificate(tmp_path / CERTIFICATE, make_certificate(files=form_files(tmp_path)))
    assert certificate_of(tmp_path) is not None
    return tmp_path


def test_it_is_read_as_it_was_written(certified):
    assert certificate_of(certified) == make_certificate(files=form_files(certified))
    assert sorted(form_files(certified)) == ["form.json", "model.safetensors"]


def test_a_changed_file_a_new_one_and_a_missing_one_take_it_away(certified):
    weights = certified / "model.safetensors"
    weights.write_bytes(b"Weights")
    assert certificate_of(certified) is None
    weights.write_bytes(b"weights")
    assert certificate_of(certified) is not None
    (certified / "chat_template.jinja").write_text("{{ messages }}")
    assert certificate_of(certified) is None
    (certified / "chat_template.jinja").unlink()
    weights.unlink()
    assert certificate_of(certified) is None


def test_the_model_card_may_change(certified):
    (certified / "README.md").write_text("# A card")
    assert certificate_of(certified) is not None


@pytest.mark.parametrize(
    ("old", "new"),
    [('"same"', '"nice"'), ('"run"', '"runn"'), ("{", "["), ('"schema_version": 1', '"schema_version": 2')],
)
def test_what_is_no_certificate_counts_as_none(certified, old, new):
    file = certified / CERTIFICATE
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))
    assert certificate_of(certified) is None


def test_a_folder_without_one(tmp_path):
    assert certificate_of(tmp_path) is None
    assert certificate_of(tmp_path / "absent") is None


def test_only_a_different_form_may_not_stand_for_the_run():
    verdicts = ("same", "equivalent", "different")
    assert [make_certificate(verdict=verdict).good for verdict in verdicts] == [True, True, False]
