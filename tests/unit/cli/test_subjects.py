"""Answers made with and without a constraint are kept apart, and free ones where they were before there was one."""

import json

from slm.cli.subjects import Subject, publish_result
from slm.data import load_dataset
from slm.files import digest
from slm.paths import shipped
from slm.recipe import GenerateSection, ModelSection, RunFolder, TaskSection
from slm.records import Rate, Result
from slm.tasks import TextToSql, prompts_digest


def subject(folder, **generate) -> Subject:
    return Subject(RunFolder(folder), ModelSection(name="m"), TaskSection(), GenerateSection(**generate))


def test_each_way_of_decoding_has_its_own_answers(tmp_path):
    dataset = load_dataset("roastery:test", limit=3)
    free, constrained = (subject(tmp_path, constrain=value).predictions(dataset) for value in (False, True))
    assert free != constrained
    prompts = prompts_digest(TextToSql(dataset.contexts), dataset.available)
    before = digest([TaskSection().model_dump(), 128, prompts])[:8]
    assert free.name == f"roastery-test-{before}.jsonl"


def test_each_way_of_decoding_is_published_under_its_own_name(tmp_path):
    rate = Rate(right=0, total=0, value=None, low=None, high=None)
    fields = {
        "suite": "s",
        "model": "m",
        "examples": 0,
        "unavailable": 0,
        "questions_fingerprint": "",
        "accuracy": rate,
    }
    free = Result(run="r-01234567", by_reason={}, by_tag={}, card={}, **fields)
    names = [
        publish_result(each, tmp_path, name=None).name for each in (free, free.model_copy(update={"constrained": True}))
    ]
    assert names == ["r.json", "r-constrained.json"]


def test_results_from_before_were_free():
    paths = list(shipped("eval", "suites").parent.glob("results/*/*.json"))
    assert paths
    for path in paths:
        record = json.loads(path.read_text())
        assert Result.model_validate(record).constrained is record.get("constrained", False)
