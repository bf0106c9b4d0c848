"""Evaluation suites: a YAML file names a data set's splits, databases and licence; the data may live in `$SLM_DATA`."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slm.errors import DataError
from slm.paths import data_home, shipped


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Keys(_Strict):
    """What the keys of a line are called."""

    question: str = "question"
    sql: str = "sql"
    db: str = "db"
    id: str = "id"
    hint: str = "hint"
    tags: str = "tags"


SPIDER_KEYS = Keys(sql="query", db="db_id")


class _SuiteFile(_Strict):
    """`eval/suites/NAME.yaml`. Paths are relative to the file, or to `$SLM_DATA/<data_folder>`."""

    name: str
    title: str
    task: str
    licence: str
    language: str | None = None
    description: str
    # Of several file names the first that is there counts: releases of one data set differ.
    splits: dict[str, str | list[str]] = Field(min_length=1)
    databases: str
    report_by: list[str] = []
    data_folder: str | None = None
    # Whether "x" may be a text in its queries where no column is called x.
    double_quoted_text: bool = False
    get: str = ""
    keys: Keys = Keys()


@dataclass(frozen=True, slots=True)
class SuiteInfo:
    """A suite: what it is, and where its data is or should be.

    `language` is that of its questions, as an ISO 639-1 code. `folder` is None where the data belongs in
    `$SLM_DATA` and that is not set. `get`: how to get the data, one line.
    """

    name: str
    title: str
    task: str
    licence: str
    language: str | None
    description: str
    splits: Mapping[str, tuple[str, ...]]
    report_by: tuple[str, ...]
    data_folder: str | None
    folder: Path | None
    databases: str
    keys: Keys
    get: str
    double_quoted_text: bool

    @property
    def present(self) -> bool:
        """Whether every split and the folder of databases are there."""
        return self.databases_folder() is not None and all(self.split_file(split) for split in self.splits)

    def split_file(self, split: str) -> Path | None:
        """The file of a split of this suite; None where it is not there."""
        candidates = [self.folder / name for name in self.splits[split]] if self.folder else []
        return next((path for path in candidates if path.is_file()), None)

    def databases_folder(self) -> Path | None:
        """The folder of the databases; None where it is not there."""
        folder = self.folder / self.databases if self.folder else None
        return folder if folder and folder.is_dir() else None

    def missing(self, what: str) -> DataError:
        """The error for data that is not there: what was looked for, where, and how to get it."""
        place = f"no {what} in {self.folder}" if self.folder else "SLM_DATA, the folder of larger data, is not set"
        files = ", ".join(" or ".join(names) for names in self.splits.values())
        folder = self.folder or f"$SLM_DATA/{self.data_folder}"
        return DataError(
            f"the data is not on this machine: {place}",
            where=self.name,
            expected=f"{files} and {self.databases}/ID/ID.sqlite in {folder}",
            hint=self.get,
        )


def list_suites() -> list[SuiteInfo]:
    """Every suite that ships with slm, by name. Raises DataError for a suite file that is wrong."""
    return [_read(path) for path in sorted(shipped("eval", "suites").glob("*.yaml"))]


def find_suite(ref: str, name: str, split: str) -> SuiteInfo:
    """The suite `name`, which has a split `split`. Raises DataError that lists what there is."""
    suites = {suite.name: suite for suite in list_suites()}
    refs = [f"{suite.name}:{each}" for suite in suites.values() for each in suite.splits]
    if name in suites and split in suites[name].splits:
        return suites[name]
    near = difflib.get_close_matches(ref, refs, n=1)
    listed = f"{near[0]}? Or one of {', '.join(refs)}" if near else f"one of {', '.join(refs)}"
    raise DataError(
        f"no such {'split' if name in suites else 'data set'}",
        where=ref,
        expected=f"{listed}; a .jsonl file; or FOLDER:SPLIT of a folder in Spider's layout",
        hint="slm suites list",
    )


def _read(path: Path) -> SuiteInfo:
    try:
        suite = _SuiteFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise DataError(f"not readable as YAML: {error}", where=str(path)) from None
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}" for each in error.errors()]
        raise DataError("; ".join(problems), where=str(path), expected="a suite, as in eval/suites") from None
    if suite.name != path.stem:
        raise DataError(f"name is {suite.name!r}", where=str(path), expected=f"the file's name, {path.stem!r}")
    home = data_home()
    folder = path.parent if suite.data_folder is None else home and home / suite.data_folder
    values: dict[str, Any] = suite.model_dump(exclude={"splits", "report_by", "keys", "get"})
    splits = {split: (names,) if isinstance(names, str) else tuple(names) for split, names in suite.splits.items()}
    values |= {"splits": splits, "report_by": tuple(suite.report_by), "get": " ".join(suite.get.split())}
    return SuiteInfo(**values, folder=folder, keys=suite.keys)
