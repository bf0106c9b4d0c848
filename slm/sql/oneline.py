"""A query on one line, its literals untouched."""

from sqlglot import tokenize
from sqlglot.errors import SqlglotError


def one_line(sql: str) -> str:
    """`sql` with each run of white space between tokens made one space, without a closing semicolon.

    Text inside literals and quoted names stays as it is. What cannot be tokenized is only stripped.
    """
    try:
        tokens = tokenize(sql, read="sqlite")
    except SqlglotError:
        return sql.strip()
    line, end = "", -1
    for token in tokens:
        gap = " " if end >= 0 and token.start > end + 1 else ""
        line += gap + sql[token.start : token.end + 1]
        end = token.end
    return line.rstrip("; ")
