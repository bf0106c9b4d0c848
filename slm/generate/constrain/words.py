"""The vocabulary of the subset of SQLite's SELECT that answers are written in: keywords, functions, aliases."""

import re

import apsw

from slm.sql.schema import quoted

AGGREGATES = ("count", "sum", "avg", "min", "max", "total", "group_concat")

# How many arguments each scalar function takes: at least, at most.
FUNCTIONS = {
    "abs": (1, 1), "coalesce": (2, 4), "date": (1, 4), "datetime": (1, 4), "ifnull": (2, 2), "iif": (3, 3),
    "instr": (2, 2), "julianday": (1, 4), "length": (1, 1), "lower": (1, 1), "ltrim": (1, 2), "nullif": (2, 2),
    "replace": (3, 3), "round": (1, 2), "rtrim": (1, 2), "strftime": (2, 5), "substr": (2, 3), "time": (1, 4),
    "trim": (1, 2), "typeof": (1, 1), "unicode": (1, 1), "upper": (1, 1),
}  # fmt: skip

SET_OPERATIONS = frozenset({"union", "intersect", "except"})
JOINS = frozenset({",", "join", "inner", "left", "cross", "natural"})
# What may stand between two operands.
OPERATORS = frozenset({"and", "or", "like", "glob", "between"})
CONSTANTS = frozenset({"null", "current_date", "current_time", "current_timestamp"})
# What may stand where an operand is expected, beside names, functions, literals and brackets.
OPENERS = CONSTANTS | {"case", "cast", "exists"}
# What may follow an operand, a table or an alias; a word that is cut short there is one of these.
FOLLOWERS = tuple(
    OPERATORS | SET_OPERATIONS | (JOINS - {","})
    | {"as", "asc", "by", "desc", "else", "end", "escape", "from", "group", "having", "in", "is", "limit", "not"}
    | {"offset", "on", "order", "outer", "select", "then", "using", "when", "where"}
)  # fmt: skip
# Words that SQLite takes for no name unless they are quoted.
RESERVED = tuple(sorted(word.lower() for word in apsw.keywords if quoted(word) != word))
# A word and perhaps a number. No letter follows a digit, or `T2ON` would be an alias as well as T2.
ALIAS = "[A-Za-z_]{1,40}[0-9]{0,2}"
_ALIAS = re.compile(ALIAS)
# A qualifier in a list of results, where the tables are still to come: T1, t2, a, emp2, x.
FORWARD_ALIAS = "[A-Za-z]{1,2}[0-9]{0,2}"
_FORWARD = re.compile(FORWARD_ALIAS)


def is_forward_alias(word: str) -> bool:
    """Whether a table that is still to come may be meant by this name."""
    return begins_forward_alias(word) and word not in RESERVED


def begins_forward_alias(start: str) -> bool:
    """Whether such a name may begin so."""
    return _FORWARD.fullmatch(start) is not None


def is_alias(word: str) -> bool:
    """Whether it has the form of an alias."""
    return _ALIAS.fullmatch(word) is not None
