"""Pairs of gold and predicted SQL, and files of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from slm.errors import DataError
from slm.files import read_json_lines

Dialect = Literal["sqlite", "duckdb", "postgres"]
_EXPECTED = 'a line like {"id": "q1", "gold": "SELECT …", "pred": "SELECT …", "db": "shop"}'


@dataclass(frozen=True, slots=True)
class Pair:
    """A predicted query, the golds of which any one is right, and the database that both are asked of.

    `database` is a file, for PostgreSQL a DSN, and None where there is no database; or `script` is (schema, data), two
    SQL scripts that make one. `double_quoted_text`: whether "x" may be a text where no column is called x.
    """

    id: str
    gold: tuple[str, ...]
    prediction: str
    database: Path | str | None = None
    script: tuple[str, str] | None = None
    dialect: Dialect = "sqlite"
    double_quoted_text: bool = False


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)  # a pair's own remarks may stand beside it

    id: str | int
    gold: str | Annotated[list[str], Field(min_length=1)]
    pred: str
    db: str | None = None
    schema_sql: str | None = None
    data_sql: str | None = None
    dialect: Dialect = "sqlite"
    double_quoted_text: bool | None = None

    @model_validator(mode="after")
    def _one_database(self) -> "_Line":
        scripts = self.schema_sql is not None
        if scripts == (self.db is not None):
            raise ValueError("needs either `db`, or `schema_sql` and `data_sql`")
        if scripts and self.dialect != "sqlite":
            raise ValueError("`schema_sql` makes a SQLite database; another one needs `db`, a file or a DSN")
        return self


def read_pairs(path: Path, *, databases: Path | None = None, double_quoted_text: bool = False) -> Iterator[Pair]:
    """The pairs of a JSON Lines file, in its order. `databases`: the folder in which `db` is looked for.

    `db` is a path, or an id: ID.sqlite or ID/ID.sqlite in the folder. A database that is not there is the judge's to
    report. Raises DataError with `file:line` for a line that is no pair, and for an id that stands twice.
    """
    seen: dict[str, int] = {}
    for number, value in read_json_lines(path):
        where = f"{path}:{number}"
        try:
            line = _Line.model_validate(value)
        except ValidationError as error:
            raise DataError(_problem(error), where=where, expected=_EXPECTED) from None
        name = str(line.id)
        if name in seen:
            raise DataError(f"id {name!r} stands in line {seen[name]} too", where=where, expected="one line an id")
        seen[name] = number
        quoted = double_quoted_text if line.double_quoted_text is None else line.double_quoted_text
        yield Pair(
            id=name,
            gold=(line.gold,) if isinstance(line.gold, str) else tuple(line.gold),
            prediction=line.pred,
            database=None if line.db is None else _database(line.db, line.dialect, databases or Path()),
            script=None if line.schema_sql is None else (line.schema_sql, line.data_sql or ""),
            dialect=line.dialect,
            double_quoted_text=quoted,
        )


def _problem(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    return f"key {key!r}: {first['msg']}" if key else str(first["msg"]).removeprefix("Value error, ")


def _database(name: str, dialect: Dialect, folder: Path) -> Path | str:
    if dialect == "postgres":
        return name
    ending = "duckdb" if dialect == "duckdb" else "sqlite"
    candidates = [folder / name, folder / f"{name}.{ending}", folder / name / f"{name}.{ending}"]
    return next((path for path in candidates if path.is_file()), candidates[0])
