"""Text in double quotes: where it may be text, and where it is a column that there is not.

SQLite takes "x" for the text 'x' where no column is called x. Public golds need that (`name = "France"`); a model's
invented column must not run as a text.
"""

from collections.abc import Mapping, Sequence, Set

import sqlglot
from sqlglot import Token, TokenType, exp
from sqlglot.errors import SqlglotError

from slm.sql.results import Refused

_COMPARISONS = (exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Like, exp.ILike, exp.Glob, exp.Is)
_COMPARING = {TokenType.EQ, TokenType.NEQ, TokenType.LIKE, TokenType.LT, TokenType.LTE, TokenType.GT, TokenType.GTE}
_LONGEST = 20_000  # characters that are parsed


def refuse_columns_as_text(sql: str, columns: Mapping[str, Set[str]]) -> None:
    """Raise Refused (`unknown_column`) if a double-quoted name that is no column stands where a column is meant.

    It may be text where it is compared with a column, in a list after IN, between the ends of BETWEEN, or inside an
    expression; a column is meant where it is selected, grouped or ordered by, aggregated, or compared with no column.
    `columns` are those of each table, in lower case.
    """
    if len(sql) > _LONGEST:
        raise Refused("unknown_column", "text in double quotes in a query too long to look into")
    try:
        tokens = sqlglot.tokenize(sql, read="sqlite")
        if all(_follows_comparison(tokens, at) for at, token in enumerate(tokens) if _is_quoted(token)):
            return
        tree = sqlglot.parse_one(sql, read="sqlite")
    except (SqlglotError, RecursionError):
        raise Refused("unknown_column", "text in double quotes in a query that cannot be read") from None
    nodes = list(tree.walk())
    known = _names(nodes, columns)
    for node in nodes:
        if _is_unknown(node, known) and _stands_for_column(node, known):
            raise Refused("unknown_column", f"no such column: {node.name} (in double quotes it would be text)")


def _is_quoted(token: Token) -> bool:
    return token.token_type is TokenType.IDENTIFIER


def _follows_comparison(tokens: Sequence[Token], at: int) -> bool:
    """Whether it stands as in `name = "x"`: most texts do, and then the query need not be parsed."""
    return at > 1 and tokens[at - 1].token_type in _COMPARING and tokens[at - 2].token_type is TokenType.VAR


def _names(nodes: Sequence[exp.Expr], columns: Mapping[str, Set[str]]) -> set[str]:
    """Every name that a column can have in the query."""
    tables = {node.name.lower() for node in nodes if isinstance(node, exp.Table)}
    names = {node.alias.lower() for node in nodes if isinstance(node, exp.Alias)}
    names |= {name.name.lower() for node in nodes if isinstance(node, exp.TableAlias) for name in node.columns}
    return names.union(*(columns.get(table, set()) for table in tables))


def _is_unknown(node: exp.Expr, known: Set[str]) -> bool:
    return (
        isinstance(node, exp.Column)
        and not node.table
        and isinstance(node.this, exp.Identifier)
        and bool(node.this.args.get("quoted"))
        and node.name.lower() not in known
    )


def _stands_for_column(node: exp.Expr, known: Set[str]) -> bool:
    parent = node.parent
    while isinstance(parent, exp.Paren | exp.Collate):
        node, parent = parent, parent.parent
    if isinstance(parent, exp.In | exp.Between):
        return parent.this is node
    if isinstance(parent, _COMPARISONS):
        other = parent.expression if parent.this is node else parent.this
        return not any(not _is_unknown(column, known) for column in other.find_all(exp.Column))
    return isinstance(parent, exp.Query | exp.Alias | exp.Group | exp.Ordered | exp.Distinct | exp.AggFunc | exp.Join)
