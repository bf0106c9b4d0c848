"""Composes, from a gold's own text, the query that also says which of its rows tie on the sort keys."""

# ruff: noqa: S608 (a gold is SQL, and runs where generated SQL runs)

from slm.sql.golds.clauses import Query, Span

RANK = "slm_rank"
_BEYOND_US = {"SELECT", "OVER", "?", "ALL"}  # subqueries, window functions, parameters and ORDER BY ALL in a sort key
_TOO_RARE = {"QUALIFY", "SAMPLE", "TABLESAMPLE", "INTO"}


def ranked_query(query: Query, last: int | None) -> str | None:
    """SQL for the gold without LIMIT, with one more column that is equal for rows that tie, in the gold's order.

    With an ORDER BY, only rows that rank at or before `last` (a number of rows) come where it is given.
    None where the gold cannot be rewritten with certainty.
    """
    start, end = query.body
    items = query.items(query.branches[0]) if start < end else []
    if not items or query.outside(_TOO_RARE, query.body) or query.words[start + 1 : start + 3] == ["DISTINCT", "ON"]:
        return None
    wrapped = len(query.branches) > 1 or query.words[start + 1] == "DISTINCT"
    keys = [_wrapped_key(query, term) if wrapped else _plain_key(query, term) for term in query.terms]
    if None in keys:
        return None
    key = f"RANK() OVER (ORDER BY {', '.join(filter(None, keys))})" if keys else "1"
    prefix = query.text((0, start))
    if wrapped:
        return _wrapped(query, prefix, key, last)
    cut = query.list_span(query.body)[1]
    ranked = f"{query.text((start, cut))}, {key} AS {RANK} {query.text((cut, end))}"
    if keys and last is not None:
        return f"{prefix} SELECT * FROM ({ranked}) AS slm_rows WHERE {RANK} <= {last} ORDER BY {RANK}".strip()
    return f"{prefix} {ranked} {f'ORDER BY {RANK}' if keys else ''}".strip()


def _wrapped(query: Query, prefix: str, key: str, last: int | None) -> str:
    """Around DISTINCT and set operations: the ranks are taken over the columns that come out."""
    items = query.items(query.branches[0])
    names = "" if any(item.star for item in items) else f"({', '.join(f'slm_{at}' for at in range(1, len(items) + 1))})"
    with_ = f"{prefix}, " if prefix else "WITH "
    ranked = f"SELECT slm_rows.*, {key} AS {RANK} FROM slm_rows"
    if key != "1" and last is not None:
        ranked = f"SELECT * FROM ({ranked}) AS slm_ranked WHERE {RANK} <= {last}"
    order = f" ORDER BY {RANK}" if key != "1" else ""
    return f"{with_}slm_rows{names} AS ({query.text(query.body)}) {ranked}{order}"


def _plain_key(query: Query, term: Span) -> str | None:
    """The sort key as an expression over the FROM clause: an alias or ordinal becomes what it stands for."""
    expression, suffix = _split(query, term)
    items = query.items(query.body)
    ordinal, path = _ordinal(query, expression), query.name_path(expression)
    if ordinal is not None:
        if not 0 < ordinal <= len(items) or any(item.star for item in items[:ordinal]):
            return None
        expression = items[ordinal - 1].span
    elif len(path) == 1:
        named = [item.span for item in items if item.alias == path[0]]
        outputs = [item.span for item in items if not item.star and query.name_path(item.span)[-1:] == path]
        expression = (named + outputs + [expression])[0]
    elif any(item.alias and _mentions(query, expression, item.alias) for item in items):
        return None  # whether the alias or a column of that name is meant depends on the database
    if expression[0] >= expression[1] or _BEYOND_US & set(query.words[slice(*expression)]):
        return None
    text = query.text(expression)
    return f"{text if expression[1] - expression[0] == 1 else f'({text})'}{suffix}"


def _wrapped_key(query: Query, term: Span) -> str | None:
    """The sort key as a column of the output: by ordinal, alias, name or the same expression."""
    expression, suffix = _split(query, term)
    ordinal, path = _ordinal(query, expression), query.name_path(expression)
    lists = [query.items(branch) for branch in query.branches]
    if any(item.star for item in lists[0]):
        return f"{query.text(expression)}{suffix}" if len(path) == 1 and ordinal is None else None
    if ordinal is None:
        for items in lists:
            found = [at for at, item in enumerate(items, 1) if len(path) == 1 and item.alias == path[0]]
            found += [at for at, item in enumerate(items, 1) if _same(query, item.span, expression)]
            if found:
                ordinal = found[0]
                break
    return f"slm_{ordinal}{suffix}" if ordinal is not None and 0 < ordinal <= len(lists[0]) else None


def _split(query: Query, term: Span) -> tuple[Span, str]:
    """A term's expression without brackets around it, and its collation, direction and place of NULL as text."""
    start, end = term
    cut, words = end, query.words
    if cut - start > 2 and words[cut - 1] in ("FIRST", "LAST") and words[cut - 2] == "NULLS":
        cut -= 2
    if cut - start > 1 and words[cut - 1] in ("ASC", "DESC"):
        cut -= 1
    if cut - start > 2 and words[cut - 2] == "COLLATE":
        cut -= 2
    return query.peeled((start, cut)), f" {query.text((cut, end))}" if cut < end else ""


def _ordinal(query: Query, expression: Span) -> int | None:
    start, end = expression
    return int(query.words[start]) if end - start == 1 and query.words[start].isdecimal() else None


def _mentions(query: Query, expression: Span, name: str) -> bool:
    """Whether the name stands in the expression without a table before it and not as a function."""
    start, end = expression
    for at in range(start, end):
        following = query.words[at + 1] if at + 1 < end else ""
        bare = following not in (".", "(") and (at == start or query.words[at - 1] != ".")
        if bare and query.words[at][0] != "'" and query.tokens[at].text.lower() == name:
            return True
    return False


def _same(query: Query, one: Span, other: Span) -> bool:
    """The same words; or the same column, once with and once without its table."""
    paths = query.name_path(one), query.name_path(other)
    if all(paths):
        short, long = sorted(paths, key=len)
        return long[-len(short) :] == short
    (a, b), (c, d) = query.peeled(one), query.peeled(other)
    return query.words[a:b] == query.words[c:d]
