"""What was made is kept for the next run, and a store that cannot be used costs nothing but time."""

import base64
from pathlib import Path

import pytest

from slm.sql import store as module
from slm.sql.store import Store, StoreReader, store_key


def made(**values: bytes) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in values.items()}


@pytest.fixture
def store(tmp_path: Path):
    opened = Store(tmp_path / "new" / "judge.sqlite")
    yield opened
    opened.close()


def test_a_reader_sees_what_was_kept_before_and_after_it_came(store):
    store.put(made(a=b"\0one", b=b""))
    reader = StoreReader(str(store.path))
    assert [reader.get(key) for key in "abc"] == [b"\0one", b"", None]
    store.put(made(a=b"two", c=b"three"))
    assert [reader.get(key) for key in "abc"] == [b"two", b"", b"three"]


def test_it_is_kept_when_the_store_is_opened_again(store):
    store.put(made(a=b"one"))
    store.close()
    again = Store(store.path)
    assert StoreReader(str(again.path)).get("a") == b"one"
    again.close()


def test_a_reader_writes_nothing(store):
    reader = StoreReader(str(store.path))
    with pytest.raises(Exception, match="readonly"):
        reader._connection.execute("DELETE FROM made").fetchall()


def test_by_default_it_is_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SLM_HOME", str(tmp_path / "home"))
    opened = Store()
    opened.close()
    assert opened.path == tmp_path / "home" / "judge.sqlite"
    assert opened.path.is_file()


def test_keys_tell_parts_apart():
    keys = [store_key(*parts) for parts in [("a", "b"), ("ab",), ("a", "b", None), ("a", "b", 1), ("a", "b", [1, 0])]]
    assert len(set(keys)) == len(keys)
    assert store_key("a", (1, 0)) == store_key("a", (1, 0))


def test_other_code_has_other_keys(tmp_path, monkeypatch):
    """The code is a copy of the folder, in which one file is then changed."""
    for name in ("instances", "prove", "golds", "compare"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text(f"# {name}")
    monkeypatch.setattr(module, "__file__", str(tmp_path / "store.py"))
    keys = set()
    for name in ("", "instances", "prove", "golds", "compare"):
        if name:
            (tmp_path / name / "code.py").write_text("# changed")
        module._code.cache_clear()
        keys.add(store_key("a"))
    module._code.cache_clear()
    assert len(keys) == 5


def test_a_full_disk_costs_nothing(small_disk):
    store = Store(small_disk(64) / "judge.sqlite")
    store.put(made(a=b"small"))
    store.put(made(b=b"\1" * 100_000))
    reader = StoreReader(str(store.path))
    assert [reader.get(key) for key in "ab"] == [b"small", None]
    store.put(made(c=b"small again"))
    assert reader.get("c") == b"small again"
    store.close()


def test_a_store_that_is_damaged_while_it_is_read_costs_nothing(store):
    store.put(made(a=b"one"))
    reader = StoreReader(str(store.path))
    store.path.write_bytes(b"\xff" * store.path.stat().st_size)
    assert reader.get("a") is None
    store.put(made(b=b"two"))


def test_a_store_that_cannot_be_used_keeps_nothing_and_says_so(tmp_path):
    (tmp_path / "text.sqlite").write_text("this is no database, whatever its name says")
    for path in (tmp_path / "text.sqlite", tmp_path / "text.sqlite" / "below.sqlite"):
        with pytest.warns(UserWarning, match="cannot be used"):
            store = Store(path)
        store.put(made(a=b"one"))
        store.close()
        assert StoreReader(str(path)).get("a") is None
    assert (tmp_path / "text.sqlite").read_text().startswith("this is no database")
