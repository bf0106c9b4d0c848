"""A program that trains begins again without glibc's cache, once, and hides that from the processes it starts."""

import os
import subprocess
import sys

import pytest

from slm.models.allocator import restart_without_cache

SCRIPT = """
import os, subprocess, sys
print("begun", flush=True)
from slm.models.allocator import restart_without_cache
restart_without_cache()
print(sys.argv[1:], os.environ.get("GLIBC_TUNABLES"))
"""
glibc = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is Linux's")


def run(**variables):
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"} | variables
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "train", "a b"], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


@glibc
def test_a_process_begins_again_once_with_its_arguments():
    assert run() == ["begun", "begun", "['train', 'a b'] None"]


@glibc
def test_other_settings_stay():
    tunables = "glibc.malloc.arena_max=1"
    assert run(GLIBC_TUNABLES=tunables) == ["begun", "begun", f"['train', 'a b'] {tunables}"]


@glibc
def test_who_sets_the_cache_is_left_alone():
    tunables = "glibc.malloc.tcache_count=3"
    assert run(GLIBC_TUNABLES=tunables) == ["begun", f"['train', 'a b'] {tunables}"]


def test_without_glibc_it_goes_on(monkeypatch):
    monkeypatch.setattr("platform.libc_ver", lambda: ("", ""))
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    monkeypatch.setattr(os, "execve", None)
    restart_without_cache()
