"""What the Spider test-suite script does to the text of a query before it runs it. Stands beside `readings`."""

from functools import lru_cache

_OPERATORS = "+/@#%^&|-"  # sqlparse takes a run of them as one token, comment marks inside it too
_SPLIT_OPERATORS = (("> =", ">="), ("< =", "<="), ("! =", "!="))


@lru_cache(maxsize=4096)  # the same gold stands beside many predictions
def test_suite_sql(sql: str) -> str:
    """The text that the script runs: operators joined, DISTINCT removed, `YEAR(CURDATE())` replaced by 2020.

    Quirks: the operators and the year are replaced inside strings too.
    """
    for split, joined in _SPLIT_OPERATORS:
        sql = sql.replace(split, joined)
    return _without_year(without_distinct(sql))


def test_suite_line(line: str) -> str:
    """The prediction that the script's command reads from a line of a file; `test_suite_sql` is applied to it next.

    Quirks: a tab ends the query, which then mostly fails; the text `value`, in any name or string, becomes 1.
    """
    return line.strip().partition("\t")[0].replace("value", "1")


def test_suite_ordered(gold: str) -> bool:
    """Whether the script counts the order of rows, for the gold as it was written.

    Quirk: it does wherever the text says `order by`: in a subquery, a string or a comment, and not if two blanks part
    the words.
    """
    return "order by" in test_suite_sql(gold).lower()


def without_distinct(sql: str) -> str:
    """The first statement without its words DISTINCT, as the script finds them among sqlparse's tokens.

    Quirks: `count(DISTINCT x)` loses it too, and so do a column or alias of that name and `IS DISTINCT FROM`, which
    then fail; all that follows the first semicolon is dropped. Strings, comments and quoted names stay.

    How sqlparse splits procedural SQL (BEGIN, GO, dollar quotes) is not followed, nor are its limits: the script fails
    on an empty query and on one with 10,000 tokens or 100 nested parentheses; here they stay.
    """
    if ";" not in sql[:-1] and "distinct" not in sql.lower():
        return sql
    kept: list[str] = []
    at = depth = 0
    ended = False
    while at < len(sql):
        end = _token_end(sql, at)
        part = sql[at:end]
        if ended and not _belongs_to_the_last(part):
            break
        depth += {"(": 1, ")": -1}.get(part, 0)
        ended = ended or (part == ";" and depth <= 0)
        if part.lower() != "distinct":
            kept.append(part)
        at = end
    return "".join(kept)


def _belongs_to_the_last(part: str) -> bool:
    """Blanks and comments up to a line's end stay with the statement before them, a line break does not."""
    return (part.isspace() and part not in ("\r", "\n")) or (_is_line_comment(part, 0) and part[2:3] != "+")


def _is_line_comment(sql: str, at: int) -> bool:
    return sql.startswith(("--", "# "), at)


def _token_end(sql: str, at: int) -> int:
    """Where the token that begins at `at` ends, as far as it matters to where words, strings and comments begin."""
    char = sql[at]
    if _is_line_comment(sql, at):
        return _line_end(sql, at)
    if sql.startswith("/*", at):
        closed = sql.find("*/", at + (3 if sql.startswith("/*+", at) else 2))
        if closed >= 0:
            return closed + 2
    if char in "'\"`´":
        return _quoted_end(sql, at)
    if char == "[":
        return _bracket_end(sql, at)
    if _is_word(char):
        return _word_end(sql, at + 1, "$#")
    if sql.startswith(("::", ":=", "<@", "@>"), at):
        return at + 2
    if char in ":$@#\\":
        start = at + 2 if sql.startswith("##", at) else at + 1
        end = _word_end(sql, start)
        if end > start and not (char in ":$" and at > 0 and _is_word(sql[at - 1])):
            return end
    if char in _OPERATORS and char != "-":
        while at < len(sql) and sql[at] in _OPERATORS:
            at += 1
        return at
    return at + 1


def _is_word(char: str) -> bool:
    return char.isalnum() or char == "_"


def _word_end(sql: str, at: int, more: str = "") -> int:
    while at < len(sql) and (_is_word(sql[at]) or sql[at] in more):
        at += 1
    return at


def _line_end(sql: str, at: int) -> int:
    """Behind the line break, which belongs to the comment."""
    while at < len(sql) and sql[at] not in "\r\n":
        at += 1
    return at + 2 if sql.startswith("\r\n", at) else min(at + 1, len(sql))


def _quoted_end(sql: str, at: int) -> int:
    """Doubled quotes, and in strings quotes behind a backslash, go on; without an end the last of those ends it."""
    quote, last = sql[at], at + 1
    at += 1
    while at < len(sql):
        if sql[at] == quote:
            if not sql.startswith(quote, at + 1):
                return at + 1
            last = at + 1
            at += 2
        elif quote in "'\"" and sql.startswith("\\" + quote, at):
            last = at + 2
            at += 2
        else:
            at += 1
    return last


def _bracket_end(sql: str, at: int) -> int:
    """A name in brackets, unless it stands where an index would."""
    if at > 0 and (_is_word(sql[at - 1]) or sql[at - 1] in "])"):
        return at + 1
    end = at + 1
    while end < len(sql) and sql[end] not in "[]":
        end += 1
    return end + 1 if sql.startswith("]", end) and end > at + 1 else at + 1


def _without_year(sql: str) -> str:
    """`YEAR ( CURDATE ( ) )` in any case, and the blanks behind it, become 2020."""
    if "curdate" not in sql.lower():
        return sql
    kept: list[str] = []
    at = 0
    while at < len(sql):
        end = _year_end(sql, at)
        kept.append(sql[at] if end is None else "2020")
        at = at + 1 if end is None else end
    return "".join(kept)


def _year_end(sql: str, at: int) -> int | None:
    for part in ("YEAR", "(", "CURDATE", "(", ")", ")"):
        if sql[at : at + len(part)].upper() != part:
            return None
        at += len(part)
        while at < len(sql) and sql[at].isspace():
            at += 1
    return at
