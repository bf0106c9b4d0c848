"""The SQL in a model's free answer."""

from collections.abc import Iterator

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

_QUERY = ("select", "with", "values")
# Statements that are no queries are handed on as they are, so that the judge can say so.
_OTHER = {"insert", "update", "delete", "replace", "create", "drop", "alter", "attach", "detach", "pragma", "explain"}
_FENCE = "```"


def extract_sql(text: str) -> str:
    """The first statement of the first code fence that holds a query, or of the whole answer; "" if there is none.

    Prose before it (`SQL:`, "The query is"), after its semicolon, or after a blank line is left out. Where no passage
    parses, the first that looks like a query is returned, and its errors are the judge's to name.
    """
    body = next((block for block in _fenced(text) if next(_starts(block), None) is not None), text).strip()
    first_word = body.split(maxsplit=1)[0].lower() if body else ""
    if first_word in _OTHER:
        return next(_statements(body, 0))
    fallback = None
    for start in sorted(_starts(body), key=lambda at: not _opens_line(body, at)):
        for statement in _statements(body, start):
            if fallback is None:
                fallback = statement
                if start == 0 and statement == body:
                    return statement
            if _is_query(statement):
                return statement
    return fallback or ""


def _fenced(text: str) -> Iterator[str]:
    """What stands in code fences, without the language that their first line may name."""
    for block in text.split(_FENCE)[1::2]:
        language, newline, rest = block.partition("\n")
        yield rest if newline and len(language.split()) <= 1 and next(_starts(language), None) is None else block


def _starts(text: str) -> Iterator[int]:
    """Where words stand that may open a query."""
    lower = text.lower()
    for word in _QUERY:
        at = lower.find(word)
        while at >= 0:
            end = at + len(word)
            if not (at and _in_word(lower[at - 1])) and not (end < len(lower) and _in_word(lower[end])):
                yield at
            at = lower.find(word, end)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _opens_line(text: str, at: int) -> bool:
    """Nothing, or a label such as `SQL:`, stands before it on its line."""
    before = text[text.rfind("\n", 0, at) + 1 : at].strip()
    return not before or before.endswith(":")


def _statements(text: str, start: int) -> Iterator[str]:
    """Where the statement that starts here may end, the likeliest first."""
    rest = text[start:]
    if start and text[start - 1] == "`" and "`" in rest:
        rest = rest[: rest.index("`")]
    end = rest.find(";")
    while end >= 0:
        if _closes(rest[: end + 1]):
            rest = rest[:end]
            break
        end = rest.find(";", end + 1)
    yield rest.strip()
    paragraph, gap, _ = rest.partition("\n\n")
    if gap:
        yield paragraph.strip()


def _closes(text: str) -> bool:
    """Whether the last character is a semicolon of the SQL, and not of a literal or a comment."""
    try:
        tokens = sqlglot.tokenize(text, read="sqlite")
    except SqlglotError:
        return False
    return bool(tokens) and tokens[-1].token_type is TokenType.SEMICOLON and tokens[-1].end == len(text) - 1


def _is_query(statement: str) -> bool:
    try:
        return isinstance(sqlglot.parse_one(statement, read="sqlite"), exp.Query | exp.Values)
    except SqlglotError:
        return False
