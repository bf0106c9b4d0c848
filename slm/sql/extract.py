"""The SQL in a model's free answer."""

from collections.abc import Iterator

import sqlglot
from sqlglot import TokenType, exp
from sqlglot.errors import SqlglotError

_QUERY = ("select", "with", "values")
# Statements that are no queries are handed on as they are, so that the judge can say so.
_OTHER = {"insert", "update", "delete", "replace", "create", "drop", "alter", "attach", "detach", "pragma", "explain"}
_FENCE = "```"
_STARTS, _LINES = 20, 40  # at most so many places and lines of prose are tried


def extract_sql(text: str) -> str:
    """The first statement of the first code fence that holds a query, or of the whole answer; "" if there is none.

    Prose before it (`SQL:`, "The query is"), after its semicolon, or on lines after it is left out. Where no passage
    parses, the first that looks like a query is returned, and its errors are the judge's to name.
    """
    body = next((block for block in _fenced(text) if _first_word(block) in _OTHER or _starts(block)), text).strip()
    first_word = _first_word(body)
    if first_word in _OTHER:
        return next(_statements(body, 0))
    fallback = None
    for start in sorted(_starts(body), key=lambda at: not _opens_line(body, at))[:_STARTS]:
        for statement in _statements(body, start):
            fallback = statement if fallback is None else fallback
            # A bare query on one line, which is what a tuned model answers, need not be parsed.
            if (first_word == "select" and statement == body and "\n" not in body) or _is_query(statement):
                return statement
    return fallback or ""


def _fenced(text: str) -> Iterator[str]:
    """What stands in code fences, without the language that their first line may name."""
    for block in text.split(_FENCE)[1::2]:
        language, newline, rest = block.partition("\n")
        yield rest if newline and len(language.split()) <= 1 and not _starts(language) else block


def _first_word(text: str) -> str:
    return next(iter(text.lower().split(maxsplit=1)), "")


def _starts(text: str) -> list[int]:
    """Where words stand that may open a query."""
    lower = "".join(c.lower() if c.isascii() else c for c in text)  # as long as the text, which lower() may not be
    found = []
    for word in _QUERY:
        at = lower.find(word)
        while at >= 0:
            end = at + len(word)
            if not (at and _in_word(lower[at - 1])) and not (end < len(lower) and _in_word(lower[end])):
                found.append(at)
            at = lower.find(word, end)
    return sorted(found)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _opens_line(text: str, at: int) -> bool:
    """Nothing, or a label such as `SQL:`, stands before it on its line."""
    before = text[text.rfind("\n", 0, at) + 1 : at].strip()
    return not before or before.endswith(":")


def _statements(text: str, start: int) -> Iterator[str]:
    """The statement that starts here, up to its semicolon; then without its last line, and so on."""
    rest = text[start:]
    if start and text[start - 1] == "`" and "`" in rest:
        rest = rest[: rest.index("`")]
    end = rest.find(";")
    while end >= 0:
        if _closes(rest[: end + 1]):
            rest = rest[:end]
            break
        end = rest.find(";", end + 1)
    lines = rest.strip().split("\n")
    for count in range(len(lines), max(0, len(lines) - _LINES), -1):
        yield "\n".join(lines[:count]).strip()


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
