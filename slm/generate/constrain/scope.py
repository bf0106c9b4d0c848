"""What a grammar without context cannot say of a query: every column is one of the tables that are bound where it stands.

The text so far is read anew for each token, with a parser that only looks at names: where the text ends, it stops, and
what it has read so far is viable if nothing was refused. A word that the text cuts short may still become any word that
begins so.
"""

import re

from slm.generate.constrain.names import Names, RefusedError, Reference, Relation, Scope
from slm.generate.constrain.words import (
    AGGREGATES,
    CONSTANTS,
    FOLLOWERS,
    FUNCTIONS,
    JOINS,
    OPENERS,
    OPERATORS,
    SET_OPERATIONS,
)
from slm.sql.schema import Schema, quoted

# Not a tokenizer of sqlglot's, because text ends anywhere here, also within a literal, and this runs for every token.
_TOKEN = re.compile(r"""[^\W\d][\w$]*|\d[\w.]*|'(?:[^']|'')*'?|"(?:[^"]|"")*"?|\s\s+|\|\||[<>=!]=|<>|[^\s\w]""")
_CALLS = frozenset(AGGREGATES) | FUNCTIONS.keys()
_SYMBOLS = frozenset("+ - * / % | || < <= > >= = == ! != <>".split())
_END = ""


class _Open(Exception):  # noqa: N818 (no error: the text ends here, and nothing in it was refused)
    pass


class _Unclear(Exception):  # noqa: N818 (no error: the text ends within a keyword)
    pass


class SchemaScope:
    """Reads queries on one schema. `double_quoted_text`: whether "x" may be a text where no column is called x."""

    def __init__(self, schema: Schema, *, double_quoted_text: bool = False) -> None:
        self._names = Names(schema)
        self._double_quoted_text = double_quoted_text

    def viable(self, prefix: str, *, finished: bool) -> bool:
        """Whether `prefix` is a query (`finished`), or may become one, that SQLite prepares on the schema."""
        tokens = _TOKEN.findall(prefix.lower())
        if not tokens or prefix[0].isspace():
            return not prefix
        word = tokens[-1]
        cut = not finished and _is_word(word) and not prefix[-1].isspace()
        if finished:
            tokens.append(_END)
        try:
            return self._reads(tokens, cut=cut)
        except _Unclear:
            followers = [follower for follower in FOLLOWERS if follower.startswith(word)]
            return any(self._reads([*tokens[:-1], follower], cut=False) for follower in followers)

    def _reads(self, tokens: list[str], *, cut: bool) -> bool:
        try:
            _Walk(self._names, tokens, cut=cut, double_quoted_text=self._double_quoted_text).statement()
        except _Open:
            return True
        except RefusedError:
            return False
        return True


def _is_word(token: str) -> bool:
    return token[:1].isalpha() or token[:1] == "_"


class _Walk:
    """One reading of a text from left to right; raises RefusedError, _Open or _Unclear where it cannot go on."""

    def __init__(self, names: Names, tokens: list[str], *, cut: bool, double_quoted_text: bool) -> None:
        self.names = names
        self.tokens = tokens
        self.at = 0
        self.end = len(tokens)
        self.cut = self.end - 1 if cut else -1
        self.double_quoted_text = double_quoted_text

    # Tokens

    def peek(self) -> str:
        """The next token, where no name can stand."""
        if self.at == self.end:
            raise _Open
        if self.at == self.cut:
            raise _Unclear
        return self.tokens[self.at]

    def take(self, *wanted: str) -> bool:
        """Step over the next token if it is one of these."""
        if self.peek() in wanted:
            self.at += 1
            return True
        return False

    def expect(self, wanted: str) -> None:
        if not self.take(wanted):
            raise RefusedError

    def begins(self, *wanted: str) -> bool:
        """Step over the next token, where a name could stand as well, if it is one of these."""
        if self.at < self.end and self.at != self.cut and self.tokens[self.at] in wanted:
            self.at += 1
            return True
        return False

    # Queries

    def statement(self) -> None:
        if self.at == self.cut:  # the first word
            self.tokens[self.at] = "select" if "select".startswith(self.tokens[self.at]) else _END
            self.cut = -1
        self.query(None, None)
        self.take(";")
        if self.peek() != _END:
            raise RefusedError

    def query(self, outer: Scope | None, width: int | None) -> Relation:
        """SELECT … UNION SELECT … ORDER BY … LIMIT …; `width`: how many columns it must have."""
        cores = [_Core(self, outer, width)]
        first = cores[0].relation
        while self.peek() in SET_OPERATIONS:
            self.at += 1
            self.begins("all")
            cores.append(_Core(self, outer, first.width))
        if self.take("order"):
            self.expect("by")
            if len(cores) == 1:
                self.terms(cores[0].scope, first.width, aggregates=cores[0].scope.aggregates, labels=True)
            else:
                self.compound_terms(cores)
        if self.take("limit"):
            self.peek()
            self.at += 1
            if self.take("offset", ","):
                self.peek()
                self.at += 1
        return first

    def terms(self, scope: Scope, width: int, *, aggregates: bool, labels: bool) -> None:
        """What ORDER BY (`labels`: an alias of a result comes first) or GROUP BY goes by."""
        while True:
            start = self.at
            if labels and self.at != self.cut and self.at < self.end and self.tokens[self.at] in scope.labels:
                if self.at + 1 == self.end:
                    raise _Open
                if self.tokens[self.at + 1] in ("", ",", ")", ";", "asc", "desc", "limit"):
                    self.at += 1
            if self.at == start:
                self.expression(scope, aggregates=aggregates)
            self.number_in_range(start, width)
            self.take("asc", "desc")
            if not self.take(","):
                return

    def number_in_range(self, start: int, width: int) -> None:
        """A plain number names a result."""
        if self.at == start + 1 and self.tokens[start].isdigit() and not 1 <= int(self.tokens[start]) <= width:
            raise RefusedError

    def compound_terms(self, cores: "list[_Core]") -> None:
        """ORDER BY behind a set operation goes by results alone: their numbers, their names or what stands there."""
        width = cores[0].relation.width
        options = {str(number + 1) for number in range(width)}
        options |= {text for core in cores for text in core.results}
        while True:
            start, depth = self.at, 0
            while self.at < self.end:
                token = self.tokens[self.at]
                depth += (token == "(") - (token == ")")
                if depth < 0 or (not depth and self.at != self.cut and token in ("", ",", ";", "asc", "desc", "limit")):
                    break
                self.at += 1
            text = " ".join(self.tokens[start : self.at])
            if self.at == self.end:
                if any(option.startswith(text) for option in options):
                    raise _Open
                # A finished term, and the beginning of what follows it.
                if self.cut >= 0 and " ".join(self.tokens[start : self.cut]) in options:
                    self.at = self.cut
                    raise _Unclear
                raise RefusedError
            if text not in options:
                raise RefusedError
            self.take("asc", "desc")
            if not self.take(","):
                return

    # Expressions

    def expression(self, scope: Scope, *, aggregates: bool, inside: bool = False) -> None:
        """Operands and what stands between them; their order of evaluation does not matter here."""
        self.operand(scope, aggregates, inside)
        while True:
            token = self.peek()
            if token in _SYMBOLS or token in OPERATORS:
                self.at += 1
                self.operand(scope, aggregates, inside)
            elif token == "not":
                self.at += 1
            elif token == "is":
                self.at += 1
                self.operand(scope, aggregates, inside)
            elif token == "in":
                self.at += 1
                self.expect("(")
                self.bracket(scope, aggregates, inside)
            else:
                return

    def bracket(self, scope: Scope, aggregates: bool, inside: bool) -> None:
        """A query with one column, or expressions; behind the opening bracket."""
        if self.at != self.cut and self.at < self.end and self.tokens[self.at] == "select":
            self.query(scope, 1)
        else:
            self.expression(scope, aggregates=aggregates, inside=inside)
            while self.take(","):
                self.expression(scope, aggregates=aggregates, inside=inside)
        self.expect(")")

    def operand(self, scope: Scope, aggregates: bool, inside: bool) -> None:
        while self.begins("not", "+", "-"):
            pass
        if self.at == self.end:
            raise _Open
        token = self.tokens[self.at]
        if _is_word(token):
            self.word(token, scope, aggregates, inside)
        elif token[0] == '"':
            self.quoted_name(token, scope, inside)
        elif token == "(":
            self.at += 1
            self.bracket(scope, aggregates, inside)
        elif token[0] == "'" or token.replace(".", "", 1).isdigit():
            self.at += 1
        else:
            raise RefusedError

    def word(self, token: str, scope: Scope, aggregates: bool, inside: bool) -> None:
        """A keyword that begins an operand, a call, or a name."""
        if self.at == self.cut:
            self.cut_word(token, scope, aggregates)
        following = self.tokens[self.at + 1] if self.at + 1 < self.end else None
        if following == ".":
            self.column_of(token, scope, inside)
        elif token in _CALLS and following in ("(", None):
            self.call(token, scope, aggregates)
        elif token in CONSTANTS:
            self.at += 1
        elif token == "case":
            self.at += 1
            self.cases(scope, aggregates, inside)
        elif token == "cast":
            self.at += 1
            self.expect("(")
            self.expression(scope, aggregates=aggregates, inside=inside)
            self.expect("as")
            self.peek_type()
            self.expect(")")
        elif token == "exists":
            self.at += 1
            self.expect("(")
            self.query(scope, None)
            self.expect(")")
        else:
            self.at += 1
            self.refer(scope, Reference(token, inside=inside), aggregates)

    def peek_type(self) -> None:
        """The type of a CAST, which the grammar checks."""
        if self.at in (self.end, self.cut):
            raise _Open
        self.at += 1

    def cut_word(self, start: str, scope: Scope, aggregates: bool) -> None:
        """The text ends within a word where an operand begins. Raises _Open or RefusedError."""
        calls = _CALLS if aggregates else FUNCTIONS
        if any(word.startswith(start) for word in OPENERS) or any(call.startswith(start) for call in calls):
            raise _Open
        if scope.completes(start) or scope.completes_table(start):
            raise _Open
        raise RefusedError

    def refer(self, scope: Scope, reference: Reference, aggregates: bool) -> None:
        scope.refer(reference)
        if not aggregates and scope.closed and reference.table is None and scope.labels.get(reference.column):
            raise RefusedError  # an alias of an aggregate, where none may stand

    def column_of(self, table: str, scope: Scope, inside: bool) -> None:
        """A column behind the name of its table."""
        if not scope.knows_table(table):
            raise RefusedError
        self.at += 2
        if self.at == self.end:
            raise _Open
        column = self.tokens[self.at]
        if self.at == self.cut or (column[0] == '"' and not _is_closed(column)):
            if scope.completes(column.lstrip('"'), table):
                raise _Open
            raise RefusedError
        self.at += 1
        scope.refer(Reference(_unquoted(column), table, inside=inside))

    def quoted_name(self, token: str, scope: Scope, inside: bool) -> None:
        """A column or a table in double quotes, or a text."""
        if not _is_closed(token):
            if self.double_quoted_text or scope.completes(token[1:]) or scope.completes_table(token[1:]):
                raise _Open
            raise RefusedError
        if self.at + 1 < self.end and self.tokens[self.at + 1] == ".":
            self.column_of(_unquoted(token), scope, inside)
            return
        self.at += 1
        reference = Reference(_unquoted(token), inside=inside, text=self.double_quoted_text)
        if self.at == self.end and scope.completes_table(reference.column):
            raise _Open
        scope.refer(reference)

    def call(self, name: str, scope: Scope, aggregates: bool) -> None:
        if name in AGGREGATES:
            if not aggregates:
                raise RefusedError
            scope.aggregates = True
        self.at += 1
        self.expect("(")
        if name == "count" and self.take_star():
            return
        self.begins("distinct")
        # What an aggregate sums up are rows of its own SELECT; and it sums up no other aggregates.
        plain = name in AGGREGATES
        self.expression(scope, aggregates=aggregates and not plain, inside=plain)
        while self.take(","):
            self.expression(scope, aggregates=aggregates and not plain, inside=plain)
        self.expect(")")

    def take_star(self) -> bool:
        if self.begins("*"):
            self.expect(")")
            return True
        return False

    def cases(self, scope: Scope, aggregates: bool, inside: bool) -> None:
        """What stands between CASE and END, and END."""
        if not self.begins("when"):
            if self.at == self.cut and "when".startswith(self.tokens[self.at]):
                raise _Open
            self.expression(scope, aggregates=aggregates, inside=inside)
            self.expect("when")
        while True:
            self.expression(scope, aggregates=aggregates, inside=inside)
            self.expect("then")
            self.expression(scope, aggregates=aggregates, inside=inside)
            if not self.take("when"):
                break
        if self.take("else"):
            self.expression(scope, aggregates=aggregates, inside=inside)
        self.expect("end")


class _Core:
    """One SELECT without ORDER BY, read by a walk: its scope, its columns, and what ORDER BY may call them."""

    def __init__(self, walk: _Walk, outer: Scope | None, width: int | None) -> None:
        self.walk = walk
        self.scope = Scope(walk.names, outer)
        self.wanted = width
        self.results: set[str] = set()
        self._columns: set[str] = set()
        self._width = 0
        # The tables whose columns are all taken; None stands for every table.
        self._stars: list[str | None] = []
        walk.begins("select")
        walk.begins("distinct", "all")
        self._items()
        if walk.take("from"):
            self.scope.opened = True
            self._sources()
        self.scope.close()
        self.relation = self._relation()
        if width not in (None, self.relation.width):
            raise RefusedError
        if walk.take("where"):
            walk.expression(self.scope, aggregates=False)
        if walk.take("group"):
            self._group()

    def _items(self) -> None:
        walk = self.walk
        while True:
            self._item()
            self._width += 1
            if walk.peek() != ",":
                break
            walk.at += 1
            if self.wanted is not None and self._width + len(self._stars) * 0 >= self.wanted:
                raise RefusedError
        if self.wanted is not None and not self._stars and self._width < self.wanted:
            raise RefusedError

    def _item(self) -> None:
        walk, start = self.walk, self.walk.at
        if walk.begins("*"):
            self._star(None)
            return
        rest = walk.tokens[start : start + 3]
        if len(rest) == 3 and rest[1:] == [".", "*"]:
            if not self.scope.knows_table(rest[0]):
                raise RefusedError
            walk.at += 3
            self._star(_unquoted(rest[0]))
            return
        before, self.scope.aggregates = self.scope.aggregates, False
        walk.expression(self.scope, aggregates=True)
        aggregate, self.scope.aggregates = self.scope.aggregates, self.scope.aggregates or before
        tokens = walk.tokens[start : walk.at]
        self.results.add(" ".join(tokens))
        name = _unquoted(tokens[-1]) if len(tokens) in (1, 3) and tokens[-2:-1] in ([], ["."]) else None
        if walk.take("as"):
            name = self._alias()
            self.scope.labels[name] = aggregate
        if name:
            self._columns.add(name)
            self.results.add(name)

    def _star(self, table: str | None) -> None:
        smallest = min(relation.width for relation in self.walk.names.tables.values())
        if self.wanted is not None and self.wanted < smallest:
            raise RefusedError
        self._stars.append(table)
        self._width -= 1

    def _alias(self) -> str:
        walk = self.walk
        if walk.at in (walk.end, walk.cut):
            raise _Open
        word = walk.tokens[walk.at]
        if not _is_word(word) or quoted(word) != word:
            raise RefusedError
        walk.at += 1
        return word

    def _sources(self) -> None:
        walk, natural = self.walk, False
        while True:
            before = {column for relation in self.scope.bound.values() for column in relation.columns}
            added = self._source()
            if natural:
                self.scope.merge(before & added.columns)
            elif walk.take("using"):
                self._using(before & added.columns)
            self._check_width()
            self.scope.check_ambiguous()
            if walk.take("on"):
                walk.expression(self.scope, aggregates=False)
            natural = False
            if walk.take(","):
                continue
            if walk.peek() not in JOINS:
                return
            natural = walk.take("natural")
            while not walk.take("join"):
                if not walk.take("left", "outer", "inner", "cross"):
                    raise RefusedError

    def _source(self) -> Relation:
        """A table or a query, with its alias; it is bound."""
        walk, scope = self.walk, self.scope
        if walk.at == walk.end:
            raise _Open
        token, name = walk.tokens[walk.at], None
        if token == "(":
            walk.at += 1
            relation = walk.query(scope.outer, None)
            walk.expect(")")
        else:
            if walk.at == walk.cut or (token[0] == '"' and not _is_closed(token)):
                if any(table.startswith(token.lstrip('"')) for table in walk.names.tables):
                    raise _Open
                raise RefusedError
            name = _unquoted(token)
            if name not in walk.names.tables:
                raise RefusedError
            relation = walk.names.tables[name]
            walk.at += 1
        if walk.take("as"):
            if walk.at == walk.cut:
                self._cut_alias(walk.tokens[walk.at], relation)
            name = self._alias()
        scope.bind(name or f"({len(scope.bound)})", relation)
        return relation

    def _cut_alias(self, start: str, relation: Relation) -> None:
        """The text ends within an alias that may grow. Raises _Open or RefusedError."""
        waiting = {reference.table for reference in self.scope.waiting if reference.table}
        free = start not in self.scope.bound and self.scope.fits(start, relation)
        if free or any(name.startswith(start) and name != start for name in waiting):
            raise _Open
        raise RefusedError

    def _using(self, common: set[str]) -> None:
        walk = self.walk
        walk.expect("(")
        while True:
            if walk.at == walk.end:
                raise _Open
            token = walk.tokens[walk.at]
            if walk.at == walk.cut:
                if any(column.startswith(token) for column in common):
                    raise _Open
                raise RefusedError
            if _unquoted(token) not in common:
                raise RefusedError
            self.scope.merge([_unquoted(token)])
            walk.at += 1
            if not walk.take(","):
                break
        walk.expect(")")

    def _check_width(self) -> None:
        """With `*`, each further table adds columns, unless they are merged."""
        if self.wanted is not None and not self.scope.merged and self._star_width() > self.wanted:
            raise RefusedError

    def _star_width(self) -> int:
        every = sum(relation.width for relation in self.scope.bound.values()) - self.scope.merged.total()
        bound = self.scope.bound
        return self._width + sum(
            every if star is None else bound[star].width for star in self._stars if star is None or star in bound
        )

    def _relation(self) -> Relation:
        columns = set(self._columns)
        for star in self._stars:
            if star is not None and star not in self.scope.bound:
                raise RefusedError
            taken = self.scope.bound if star is None else {star: self.scope.bound[star]}
            if not taken:
                raise RefusedError
            columns.update(*(relation.columns for relation in taken.values()))
        self.results |= columns
        return Relation(frozenset(columns), self._star_width())

    def _group(self) -> None:
        self.walk.expect("by")
        self.walk.terms(self.scope, self.relation.width, aggregates=False, labels=False)
        self.scope.aggregates = True
        if self.walk.take("having"):
            self.walk.expression(self.scope, aggregates=True)


def _is_closed(token: str) -> bool:
    return len(token) > 1 and token.count('"') % 2 == 0


def _unquoted(token: str) -> str:
    return token[1:-1].replace('""', '"') if token[0] == '"' else token
