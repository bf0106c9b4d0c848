"""A grammar of the queries that a database can be asked: SQLite's SELECT with the names of its schema.

It is written for llguidance, which makes masks of tokens from it. What a context-free grammar cannot say (which table
has a column, which alias is bound where) `scope` decides, and also where words need a space between them.
"""

import re
from collections.abc import Iterable, Sequence

from slm.generate.constrain.words import ALIAS, FORWARD_ALIAS, FUNCTIONS, RESERVED
from slm.sql.schema import Schema, quoted

# Joins compare columns. Where the tables do not have all columns yet, an answer could not end, and a model that cannot
# go on to WHERE would otherwise multiply columns for ever instead of joining a further table.
# `%s` marks the rules that exist twice: for lists of results, where the tables are not known yet and only the
# schema's names make sense, and for all that follows, where aliases and names of derived tables may be meant, too.
_EXPRESSIONS = r"""
expr%s: term%s (OPERATOR term%s | tail%s)*
sum%s: term%s (ARITHMETIC term%s)*
tail%s: "IS"i "NOT"i? "NULL"i
    | "NOT"i? "IN"i "(" (select | expr%s ("," expr%s)*) ")"
    | "NOT"i? "BETWEEN"i sum%s "AND"i term%s
    | "NOT"i? ("LIKE"i term%s ("ESCAPE"i MARK)? | "GLOB"i term%s)
term%s: (SIGN | "NOT"i)? (NUMBER | TEXT | CONSTANT | name%s | call%s | cases%s
    | "CAST"i "(" expr%s "AS"i TYPE ")"
    | "EXISTS"i "(" select ")"
    | "(" (select | expr%s) ")")
cases%s: "CASE"i expr%s? ("WHEN"i expr%s "THEN"i expr%s)+ ("ELSE"i expr%s)? "END"i
call%s: "COUNT"i "(" ("*" | "DISTINCT"i? expr%s) ")"
    | ("SUM"i | "AVG"i | "MIN"i | "MAX"i | "TOTAL"i) "(" "DISTINCT"i? expr%s ")"
    | "GROUP_CONCAT"i "(" ("DISTINCT"i expr%s | expr%s ("," TEXT)?) ")"
"""

_QUERY = r"""
start: select ";"?
select: core (("UNION"i "ALL"i? | "INTERSECT"i | "EXCEPT"i) core)* order? limit?
core: "SELECT"i ("DISTINCT"i | "ALL"i)? item ("," item)* from?
item: "*" | (TABLE | FORWARD) "." "*" | expr_list ("AS"i ALIAS)?
from: "FROM"i source ("," source | join)* ("WHERE"i expr)? group?
join: ("NATURAL"i | "CROSS"i)? "JOIN"i source | ("LEFT"i "OUTER"i? | "INNER"i)? "JOIN"i source constraint?
constraint: "ON"i test (CONJUNCTION test)* | "USING"i "(" COLUMN ("," COLUMN)* ")"
test: term (COMPARISON term)?
source: (TABLE | "(" select ")") ("AS"i ALIAS)?
group: "GROUP"i "BY"i expr ("," expr)* ("HAVING"i expr)?
order: "ORDER"i "BY"i expr ("ASC"i | "DESC"i)? ("," expr ("ASC"i | "DESC"i)?)*
limit: "LIMIT"i COUNT (("OFFSET"i | ",") COUNT)?
name_list: ((TABLE | FORWARD) ".")? COLUMN
name: (WORD | QUOTED) ("." (WORD | QUOTED))?
OPERATOR: ARITHMETIC | COMPARISON | CONJUNCTION
ARITHMETIC: /\|\||[+\-*\/%]/
COMPARISON: /<=|>=|<>|!=|==|[=<>]/
CONJUNCTION: "AND"i | "OR"i
SIGN: /[+\-]/
CONSTANT: "NULL"i | "CURRENT_DATE"i | "CURRENT_TIME"i | "CURRENT_TIMESTAMP"i
TYPE: "INTEGER"i | "INT"i | "REAL"i | "FLOAT"i | "TEXT"i | "NUMERIC"i
COUNT: /[0-9]{1,6}/
MARK: /'[^'\x00-\x1f]'/
NUMBER: /[0-9]{1,15}(\.[0-9]{1,15})?/
%ignore / /
"""

_KEYWORD = re.compile(r'"([A-Z_]+)"i')
_SINGLE_QUOTED = r"'([^'\x00-\x1f]|''){0,80}'"
_DOUBLE_QUOTED = r'"([^"\x00-\x1f]|""){0,80}"'


def sql_grammar(schema: Schema, *, double_quoted_text: bool = False) -> str:
    """The grammar in llguidance's Lark syntax; `double_quoted_text`: whether "x" may be a text."""
    tables = [table.name for table in schema.tables]
    columns = [column.name for table in schema.tables for column in table.columns]
    text = f"{_SINGLE_QUOTED}|{_DOUBLE_QUOTED}" if double_quoted_text else _SINGLE_QUOTED
    calls = "".join(
        f'    | "{name.upper()}"i "(" {_arguments(name, *bounds)} ")"\n' for name, bounds in FUNCTIONS.items()
    )
    expressions = _EXPRESSIONS + calls
    reserved = _any_of(RESERVED)
    lark = [
        _QUERY,
        expressions.replace("%s", ""),
        expressions.replace("%s", "_list"),
        f"TEXT: /{text}/\n",
        f"QUOTED: /{_any_of(_quoted([*tables, *columns]))}/\n",
        f"WORD: /[A-Za-z_][A-Za-z0-9_]*/ & ~/{reserved}/\n",
        f"ALIAS: /{ALIAS}/ & ~/{reserved}/\n",
        f"FORWARD: /{FORWARD_ALIAS}/ & ~/{reserved}/\n",
        f"TABLE: /{_any_of(_written(tables))}/\n",
        f"COLUMN: /{_any_of(_written(columns))}/\n",
    ]
    return _KEYWORD.sub(lambda found: f"/{_any_case(found[1])}/", "".join(lark))


def _arguments(name: str, least: int, most: int) -> str:
    one = "sum%s" if name == "trim" else "expr%s"  # sqlglot reads no comparison within TRIM
    more = f' ("," {one}){{{least - 1},{most - 1}}}' if most > 1 else ""
    return one + more


def _written(names: Sequence[str]) -> set[str]:
    """Each name as it must be written, and in double quotes."""
    return {quoted(name) for name in names} | _quoted(names)


def _quoted(names: Iterable[str]) -> set[str]:
    return {'"' + name.replace('"', '""') + '"' for name in names}


def _any_of(words: Iterable[str]) -> str:
    return "|".join(map(_any_case, sorted(words)))


def _any_case(text: str) -> str:
    """A regular expression for `text` in any case of its ASCII letters, which are those that SQLite sees no case in.

    The flag `i` would also let ſ stand for s.
    """
    return "".join(
        f"[{letter.upper()}{letter.lower()}]" if letter.isascii() and letter.isalpha() else _escaped(letter)
        for letter in text
    )


def _escaped(letter: str) -> str:
    return r"\/" if letter == "/" else re.escape(letter)
