"""Whether two queries return the same result in every database with the declared constraints: an attempt at a proof.

Both queries are read into terms (`reader.py`), rewritten to a normal form (`normal.py`) and spelt in one way
(`encode.py`); equal spellings prove equality. Nothing follows from different ones. Every rewrite keeps the bag of rows
on every instance under SQLite's semantics: three-valued logic, dynamic types, affinity, binary collation. What no rule
is known to be sound for (windows, VALUES, RIGHT JOIN, collations, the clock, random numbers, bare columns, a tie at a
LIMIT in a subquery …) is given up.

Taken for granted: both queries run without an error (no integer overflow in SUM), sums of floats do not depend on their
order, `PRAGMA case_sensitive_like` is off, and STRFTIME of a column is asked at the same moment on both sides.

LIMIT on the outermost query: equal normal forms have the same rows before LIMIT and the same sort keys, so every choice
at a tie that is right for one is right for the other, and that is what is expected of a prediction. Where a choice is
left, the two may still return different rows.
"""

from sqlglot.errors import SqlglotError

from slm.sql.prove.encode import Encoder
from slm.sql.prove.facts import Facts
from slm.sql.prove.normal import check_equal_values, normal
from slm.sql.prove.reader import Reader
from slm.sql.prove.terms import Block, Query, SetOp, Unprovable
from slm.sql.prove.world import World, outputs

_MOST_CHARACTERS = 5_000


def prove_equal(
    gold: str,
    prediction: str,
    facts: Facts,
    *,
    dialect: str = "sqlite",
    ordered: bool,
    permutation: tuple[int, ...] | None = None,
    double_quoted_text: bool = False,
) -> bool:
    """Whether the queries provably return the same rows on every database with these facts.

    `ordered`: the gold's outermost query has ORDER BY, and the prediction's rows must come in such an order.
    `permutation[j]` is the prediction's column that stands for the gold's column j. `double_quoted_text`: a name in
    double quotes that is no column is text. Any other dialect than SQLite gives False, as does anything unreadable.
    """
    if dialect != "sqlite" or max(len(gold), len(prediction)) > _MOST_CHARACTERS:
        return False
    try:
        ours, our_world = _normal(gold, facts, double_quoted_text, None)
        theirs, their_world = _normal(prediction, facts, double_quoted_text, permutation)
        if len(outputs(ours)) != len(outputs(theirs)):
            return False
        ours, theirs = _comparable(ours, theirs, ordered=ordered)
        return bool(Encoder(our_world).spell(ours, {}) == Encoder(their_world).spell(theirs, {}))
    except (Unprovable, SqlglotError, RecursionError):
        return False


def _normal(
    sql: str, facts: Facts, double_quoted_text: bool, permutation: tuple[int, ...] | None
) -> tuple[Query, World]:
    reader = Reader(sql, facts, double_quoted_text=double_quoted_text)
    query = reader.whole()
    if permutation is not None:
        if sorted(permutation) != list(range(len(outputs(query)))):
            raise Unprovable("not a permutation")
        query = _permuted(query, permutation)
    check_equal_values(query, reader.world)
    return normal(query, reader.world, is_top=True), reader.world


def _permuted(query: Query, permutation: tuple[int, ...]) -> Query:
    if isinstance(query, Block):
        return query._replace(outputs=tuple(query.outputs[place] for place in permutation))
    operands = tuple(_permuted(operand, permutation) for operand in query.operands)
    order = tuple((("out", permutation.index(term[1])), desc, nulls) for term, desc, nulls in query.order)
    return query._replace(operands=operands, order=order)


def _comparable(gold: Query, prediction: Query, *, ordered: bool) -> tuple[Query, Query]:
    """Both without the order that nobody asked for: all of it, or the sort keys after the gold's."""
    limited = any(query.limit is not None or query.offset for query in (gold, prediction))
    if limited:
        return gold, prediction
    wanted = len(gold.order) if ordered else 0
    return _cut(gold, wanted), _cut(prediction, wanted)


def _cut(query: Query, keys: int) -> Query:
    if isinstance(query, SetOp):
        return query._replace(order=query.order[:keys])
    return query._replace(order=query.order[:keys])
