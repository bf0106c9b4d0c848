"""The cold start is measured on a real process, and a form that does not answer is an error."""

import time

import pytest

from slm.errors import JobError
from slm.models.forms import FormSpec
from slm.ops import export, measure_cold_start
from slm.records import Prompt
from tiny_run import make_tiny_run

PROMPT = Prompt(context="singer(id int pk, name text)", question="How many singers are there?")


def test_a_form_answers_in_a_process_of_its_own(tmp_path):
    folder = export(make_tiny_run("llama", tmp_path), FormSpec(kind="merged"))
    began = time.monotonic()
    seconds = measure_cold_start(folder, PROMPT)
    assert 0.5 < seconds <= time.monotonic() - began


def test_a_folder_that_is_no_form_is_an_error_that_says_so(tmp_path):
    with pytest.raises(JobError, match=r"gave no answer(.|\n)*no form\.json"):
        measure_cold_start(tmp_path, PROMPT)
