"""A shape: one way to ask and the one way to answer, with slots for what varies.

`<word>` is filled from one of the shape's cases (a column, an aggregate, a direction); `{pool}` with a literal of that
pool (see `literals`), the same in the question and in the SQL. `{pool}` and `{pool2}` are two values, in its order.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

Case = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """`questions` are interchangeable wordings; a shape without cases has one empty case."""

    name: str
    sql: str
    questions: tuple[str, ...]
    cases: tuple[Case, ...] = ({},)

    @property
    def has_literals(self) -> bool:
        """Whether examples differ by more than case and wording."""
        return "{" in fill(self.sql, self.cases[0])


def cases(header: str, *rows: tuple[str, ...]) -> tuple[Case, ...]:
    """A small table of cases: slot names in the header, one case a row."""
    return tuple(dict(zip(header.split(), row, strict=True)) for row in rows)


def cross(*groups: tuple[Case, ...]) -> tuple[Case, ...]:
    """Every combination of one case from each group."""
    return tuple(
        {key: value for case in combination for key, value in case.items()} for combination in product(*groups)
    )


def fill(template: str, case: Case) -> str:
    """Put a case into a template; literal slots stay."""
    for word, value in case.items():
        template = template.replace(f"<{word}>", value)
    return template
