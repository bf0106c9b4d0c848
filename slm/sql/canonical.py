"""A query in the one form that a model learns to write: what it means is untouched, how it is written is not."""

import re
from collections.abc import Iterator, Sequence

from sqlglot import Token, TokenType, tokenize
from sqlglot.errors import SqlglotError

from slm.sql.oneline import one_line
from slm.sql.schema import Schema, quoted

# Words that mean their keyword wherever they stand bare.
_KEYWORDS = frozenset([
    "all", "and", "as", "asc", "between", "by", "case", "cast", "cross", "desc", "distinct", "else", "end", "except",
    "exists", "from", "group", "having", "in", "inner", "intersect", "is", "join", "left", "like", "limit", "natural",
    "not", "null", "offset", "on", "or", "order", "outer", "select", "then", "union", "using", "when", "where",
    "with",
])  # fmt: skip
_QUERY = frozenset(["select", "with", "values", "("])
_AGGREGATES = frozenset(["count", "sum", "avg", "min", "max"])
_NUMBERED = re.compile(r"t\d+", re.IGNORECASE)
_TEXT_FOLLOWS = frozenset(["=", "!=", "<", ">", "<=", ">=", "LIKE", "IN", "BETWEEN", "AND", "(", ","])


def canonical(sql: str, schema: Schema) -> str:
    """`sql` on one line: keywords and aggregates in upper case, names spelled as in `schema`, texts in single quotes.

    There is one way of spacing and no closing semicolon. What is no query is only put on one line.
    """
    try:
        tokens = tokenize(sql, read="sqlite")
    except SqlglotError:
        return one_line(sql)
    if not tokens or tokens[0].text.lower() not in _QUERY:  # no query: nobody knows what spaces mean in it
        return one_line(sql)
    while tokens and tokens[-1].token_type is TokenType.SEMICOLON:
        tokens.pop()
    names = _spellings(schema)
    words: list[str] = []
    for at, token in enumerate(tokens):
        words.append(_word(sql[token.start : token.end + 1], tokens, at, names, words))
    return "".join(_spaced(words))


def _spellings(schema: Schema) -> dict[str, set[str]]:
    """How names are spelled, by their lower case; columns of several tables may differ."""
    found: dict[str, set[str]] = {}
    for table in schema.tables:
        for name in (table.name, *(column.name for column in table.columns)):
            found.setdefault(name.lower(), set()).add(name)
    return found


def _word(text: str, tokens: Sequence[Token], at: int, names: dict[str, set[str]], before: Sequence[str]) -> str:
    token = tokens[at]
    if token.token_type is TokenType.STRING:
        return text
    if token.token_type is TokenType.IDENTIFIER:
        name = token.text
        if name.lower() in names:
            return quoted(_spelled(name, names))
        # SQLite takes what no column is called for a text.
        return (
            "'" + name.replace("'", "''") + "'" if text[0] == '"' and before and before[-1] in _TEXT_FOLLOWS else text
        )
    lower, called = text.lower(), at + 1 < len(tokens) and tokens[at + 1].token_type is TokenType.L_PAREN
    qualified = bool(before) and before[-1] == "."
    if lower in names and (qualified or (lower not in _KEYWORDS and not called)):
        return _spelled(text, names)
    if lower in _KEYWORDS or (called and lower in _AGGREGATES) or _NUMBERED.fullmatch(text):
        return text.upper()
    return text


def _spelled(name: str, names: dict[str, set[str]]) -> str:
    spellings = names[name.lower()]
    return name if name in spellings else min(spellings)


def _spaced(words: Sequence[str]) -> Iterator[str]:
    """The words with the white space that belongs between them."""
    for at, word in enumerate(words):
        before = words[at - 1] if at else ""
        tight = not at or before in ("(", ".") or word in (")", ",", ".")
        if word == "(":
            tight = tight or (bool(re.fullmatch(r"\w+", before)) and before.lower() not in _KEYWORDS)
        if before == "-" and (at == 1 or words[at - 2] in _TEXT_FOLLOWS or words[at - 2].lower() in _KEYWORDS):
            tight = True  # a sign
        yield word if tight else f" {word}"
