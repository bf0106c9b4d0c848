"""The neighbours of a gold query: queries that a model would plausibly write instead, one small change each.

An instance of the database on which a neighbour gives another result than the gold is one that can tell them apart.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import sqlglot
from sqlglot import Dialect, Generator, TokenType, exp
from sqlglot.errors import SqlglotError

from slm.sql.instances import mutate_clauses as clauses
from slm.sql.instances import mutate_terms as terms
from slm.sql.instances.mutate_tree import Edit, Query
from slm.sql.schema import Schema

CAP = 60
"""The most mutants of one gold."""

Rule = Callable[[Query], Iterator[Edit]]
RULES: dict[str, Rule] = {
    "comparison_operator": terms.comparison_operator,
    "constant": terms.constant,
    "join_kind": clauses.join_kind,
    "distinct": clauses.distinct,
    "aggregate": terms.aggregate,
    "count_distinct": terms.count_distinct,
    "predicate_removed": terms.predicate_removed,
    "connective": terms.connective,
    "group_key": clauses.group_key,
    "having_removed": clauses.having_removed,
    "order_direction": clauses.order_direction,
    "limit": clauses.limit,
    "extreme": clauses.extreme,
    "selected_column": clauses.selected_column,
    "set_operation": clauses.set_operation,
    "set_operand": clauses.set_operand,
    "null_test": terms.null_test,
    "null_included": terms.null_included,
    "null_excluded": terms.null_excluded,
    "subquery_filter_removed": clauses.subquery_filter_removed,
    "subquery_unfiltered": clauses.subquery_unfiltered,
    "in_negation": terms.in_negation,
    "in_versus_equals": terms.in_versus_equals,
    "in_list": terms.in_list,
    "exists_negation": terms.exists_negation,
    "negation": terms.negation,
    "between_bounds": terms.between_bounds,
    "text_constant": terms.text_constant,
    "like_pattern": terms.like_pattern,
    "join_key": clauses.join_key,
    "join_dropped": clauses.join_dropped,
    "join_condition_removed": clauses.join_condition_removed,
    "order_key": clauses.order_key,
    "filter_column": terms.filter_column,
    "aggregate_argument": terms.aggregate_argument,
    "aggregates_swapped": terms.aggregates_swapped,
}
"""Kind of mutation to rule, in the order in which the kinds take turns."""

# What a printer may leave out, add or move without a change of meaning, and other spellings of the same.
_SILENT = {".", "AS", "JOIN", "INNER", "CROSS", "OUTER", "ASC", "OFFSET", ";", "(", ")", ","}
_SAME = {"!=": "<>", "==": "=", "IFNULL": "COALESCE", "SUBSTR": "SUBSTRING", "::": "CAST", "NOW": "CURRENT_TIMESTAMP"}
_SAME_TYPE = {
    "INT": "INTEGER",
    "FLOAT": "REAL",
    "DOUBLE": "REAL",
    "VARCHAR": "TEXT",
    "CHAR": "TEXT",
    "NUMERIC": "DECIMAL",
}


@dataclass(frozen=True, slots=True)
class Mutant:
    """`kind` is a key of `RULES`."""

    kind: str
    sql: str


def mutants(sql: str, schema: Schema, dialect: str = "sqlite") -> list[Mutant]:
    """At most `CAP` different neighbours of the gold, the kinds in turn, always in the same order.

    Empty for a gold that sqlglot cannot parse, or would print as something that may mean something else.
    """
    generator = Dialect.get_or_raise(dialect).generator(comments=False)
    try:
        tree = _parse(sql, dialect)
        gold = generator.generate(tree) if tree else ""
        if tree is None or not _says_the_same(sql, gold, dialect):
            return []
    except SqlglotError:
        return []
    return list(islice(_in_turn(Query(tree, schema, dialect), generator, gold), CAP))


def _parse(sql: str, dialect: str) -> exp.Query | None:
    """The tree of a text that is one query."""
    parts = [part for part in sqlglot.parse(sql, read=dialect) if part and not isinstance(part, exp.Semicolon)]
    if len(parts) != 1 or not isinstance(tree := parts[0], exp.Query):
        return None
    for join in tree.find_all(exp.Join) if dialect == "sqlite" else ():
        # The parser turns `a, b` into a CROSS JOIN, which fixes SQLite's order of loops, and `a JOIN b` into ON TRUE.
        if join.kind == "CROSS" or (join.args.get("on") == exp.true() and not join.side):
            join.set("on", None)
            join.set("kind", "INNER")
    return tree


def _in_turn(query: Query, generator: Generator, gold: str) -> Iterator[Mutant]:
    """Each kind gives its next new neighbour, round after round, until none has more."""
    waiting = {kind: rule(query) for kind, rule in RULES.items()}
    seen = {gold}
    while waiting:
        for kind, edits in list(waiting.items()):
            text = _next_new(query, edits, generator, seen)
            if text is None:
                del waiting[kind]
                continue
            seen.add(text)
            yield Mutant(kind, text)


def _next_new(query: Query, edits: Iterator[Edit], generator: Generator, seen: set[str]) -> str | None:
    for edit in edits:
        undo = query.apply(edit)
        text = generator.generate(query.tree)  # prints a copy: some printers rewrite what they print
        query.apply(undo)
        if text not in seen:
            return text
    return None


def _says_the_same(sql: str, printed: str, dialect: str) -> bool:
    """Whether the printer kept every word: CAST(x AS NUMERIC), for one, comes back from sqlglot as a cast to REAL."""
    return _words(sql, dialect) == _words(printed, dialect)


def _words(sql: str, dialect: str) -> Counter[str]:
    words: Counter[str] = Counter()
    for token in sqlglot.tokenize(sql, read=dialect):
        if token.token_type == TokenType.STRING:
            unit = token.text.replace(" ", "").isalnum()  # 'month' may come back in capitals
            words["'" + (token.text.upper() if unit else token.text)] += 1
            continue
        word = token.text.upper()
        if word not in _SILENT:
            word = _SAME.get(word, _SAME_TYPE.get(word, word))
            words[word.lstrip("0.") if token.token_type == TokenType.NUMBER else word] += 1
    return words
