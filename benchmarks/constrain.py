"""Decoding within a schema: which golds it leaves possible, whether what it lets through runs, and what it takes.

    python benchmarks/constrain.py coverage spider:dev roastery:test
    python benchmarks/constrain.py walks spider:dev --databases 20 --walks 50
    python benchmarks/constrain.py overhead roastery:test --model smollm2-135m

`coverage`: share of the golds, in their canonical form, that the grammar accepts and of which every prefix is viable;
the others by id, with the place where they were refused, and whether SQLite prepares them. `walks`: random queries that
the grammar and the scope let through, made of words and bytes; each must parse with sqlglot and prepare in SQLite.
`overhead`: what a token of an answer costs while the likeliest token may come (golds, token by token), and what it
costs to ask for all that may come. Each suite ends with one line of JSON.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import apsw
import numpy as np
import sqlglot
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from slm.data import Dataset, load_dataset
from slm.generate.constrain.chooser import SqlConstraint
from slm.generate.constrain.grammar import sql_grammar
from slm.generate.constrain.scope import SchemaScope
from slm.generate.constrain.words import AGGREGATES, FOLLOWERS, FUNCTIONS
from slm.models import pull_model
from slm.models.load import load_tokenizer
from slm.sql import Schema, canonical, read_schema
from slm.sql.schema import quoted
from slm.tasks import Renderer, TextToSql

_END = 256
_LONGEST = 100
_DEAD_END = " (nothing may follow)"
# What is never the end of a query.
_WIDENING = {*(bytes([character]) for character in b"(,+-*/%|<>=!0123456789")} | {
    word.encode() for word in (*FOLLOWERS, *FUNCTIONS, *AGGREGATES) if word not in ("from", "desc", "asc", "end")
}


class _Bytes:
    """A tokenizer of bytes, an end, and some words, as llguidance wraps one."""

    eos_token_id = _END
    bos_token_id = None
    special_token_ids = (_END,)

    def __init__(self, words: Iterable[str] = ()) -> None:
        self.tokens = (
            *(bytes([value]) for value in range(256)),
            b"<end>",
            *(word.encode() for word in sorted(set(words))),
        )

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


def _late(token: int, piece: bytes) -> float:
    """How much later than others a token comes; the end, and whole words, come earlier."""
    if token == _END:
        return -4.0
    if piece in _WIDENING or (token < _END and piece >= b"\x80"):
        return 4.0
    return -0.5 if token > _END else 0.0


class Database:
    """What is needed to check and to make queries on one database."""

    def __init__(self, path: Path) -> None:
        self.schema: Schema = read_schema(path)
        schema = self.schema
        names = [name for table in schema.tables for name in (table.name, *(column.name for column in table.columns))]
        vocabulary = _Bytes(
            [*(quoted(name) for name in names), *FOLLOWERS, *FUNCTIONS, *AGGREGATES, "distinct", "T1.", "T2."]
        )
        self.tokens = vocabulary.tokens
        self.late = np.array([_late(token, piece) for token, piece in enumerate(vocabulary.tokens)])
        tokenizer = LLTokenizer(TokenizerWrapper(vocabulary))
        grammar = LLMatcher.grammar_from_lark(sql_grammar(schema))
        self._matcher = LLMatcher(tokenizer, grammar)
        self.scope = SchemaScope(schema)
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        for kind in (apsw.SQLITE_DBCONFIG_DQS_DML, apsw.SQLITE_DBCONFIG_DQS_DDL):
            self._connection.config(kind, 0)

    def matcher(self) -> LLMatcher:
        """A fresh one."""
        return self._matcher.deep_copy()

    def trouble(self, sql: str) -> str | None:
        """Why SQLite does not prepare it."""
        try:
            self._connection.execute(f"EXPLAIN {sql}")
        except apsw.Error as error:
            return str(error)
        return None


def refused(database: Database, sql: str) -> tuple[str | None, int]:
    """The query up to where it is refused, and how many checks were made."""
    text = sql.encode()
    matcher = database.matcher()
    taken = matcher.try_consume_tokens(list(text))
    if taken < len(text) or not matcher.is_accepting():
        return f"grammar: {text[:taken].decode(errors='ignore')}", 0
    for end in range(1, len(sql) + 1):
        if not database.scope.viable(sql[:end], finished=False):
            return f"scope: {sql[:end]}", end
    return (None if database.scope.viable(sql, finished=True) else f"scope: {sql} (end)"), len(sql) + 1


def databases(dataset: Dataset) -> dict[str, Database]:
    """Each database of a data set that is there."""
    used = sorted({example.context_id for example in dataset.available})
    return {name: Database(dataset.contexts[name]) for name in used}


def coverage(ref: str) -> dict[str, object]:
    """Prints each gold that would not be possible."""
    dataset = load_dataset(ref)
    known = databases(dataset)
    began, checks, outside, failing = time.perf_counter(), 0, 0, 0
    for example in dataset.available:
        database = known[example.context_id]
        sql = canonical(example.targets[0], database.schema)
        where, made = refused(database, sql)
        checks += made
        if where is not None:
            trouble = database.trouble(sql)
            failing += trouble is not None
            outside += trouble is None
            print(f"{example.id}: {where}" + (f"\n    SQLite refuses it, too: {trouble}" if trouble else ""))
    micros = (time.perf_counter() - began) / max(checks, 1) * 1e6
    golds = len(dataset.available)
    share = 1 - outside / max(golds - failing, 1)
    row = {"suite": ref, "golds": golds, "sqlite_refuses": failing, "outside": outside, "covered": round(share, 5)}
    return row | {"micros_per_check": round(micros, 1)}


def walk(database: Database, dice: np.random.Generator) -> str | None:
    """A random query, None where it grew too long, or a beginning that nothing may follow."""
    matcher, text = database.matcher(), b""
    while len(text) < _LONGEST:
        chosen = next(_allowed(database, matcher, text, dice), None)
        if chosen is None:
            return text.decode() + _DEAD_END
        if chosen == _END:
            return text.decode()
        matcher.consume_token(chosen)
        text += database.tokens[chosen]
    return None


def _allowed(database: Database, matcher: LLMatcher, text: bytes, dice: np.random.Generator) -> Iterator[int]:
    """What may come next, in random order; the end and words early, what makes it longer the later the longer it is."""
    bits = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), np.uint8), bitorder="little")
    tokens = bits[: len(database.tokens)].nonzero()[0]
    place = dice.random(len(tokens)) + database.late[tokens] * len(text) / _LONGEST
    for quote in b"'\"":
        if text.count(quote) % 2:  # within a text: soon at its end
            place -= tokens == quote
    for token in tokens[place.argsort()].tolist():
        shown = text if token == _END else text + database.tokens[token]
        if database.scope.viable(shown.decode(errors="ignore"), finished=token == _END):
            yield token


def walks(ref: str, *, most: int, count: int, seed: int) -> dict[str, object]:
    """Prints each query that is let through and does not run; `count` of each database are brought to their end."""
    dataset = load_dataset(ref)
    names = sorted({example.context_id for example in dataset.available})
    if len(names) > most:
        names = np.random.default_rng(seed).choice(names, most, replace=False).tolist()
    total: Counter[str] = Counter()
    began = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        jobs = {
            pool.submit(_walks_of, dataset.contexts[name], count, [seed, at]): name for at, name in enumerate(names)
        }
        for number, job in enumerate(as_completed(jobs), 1):
            found, wrong = job.result()
            total.update(found)
            name, seconds = jobs[job], time.perf_counter() - began
            for trouble in wrong:
                print(f"{name}: {trouble}", flush=True)
            print(f"{number}/{len(names)} {name}: {seconds:.0f} s", file=sys.stderr, flush=True)
    return {"suite": ref, "databases": len(names), **total, "seconds": round(time.perf_counter() - began)}


def _walks_of(path: Path, count: int, seed: list[int]) -> tuple[dict[str, int], list[str]]:
    database, dice = Database(path), np.random.default_rng(seed)
    found, wrong = dict.fromkeys(("finished", "given_up", "dead_ends", "wrong"), 0), []
    while found["finished"] < count:
        sql = walk(database, dice)
        if sql is None or sql.endswith(_DEAD_END):
            found["given_up" if sql is None else "dead_ends"] += 1
            continue
        found["finished"] += 1
        if trouble := database.trouble(sql) or _unparsed(sql):
            found["wrong"] += 1
            wrong.append(f"{trouble}\n    {sql}")
    return found, wrong


def overhead(ref: str, *, model: str) -> dict[str, object]:
    """Milliseconds a token, and a mask of all tokens."""
    dataset = load_dataset(ref)
    renderer, task = Renderer(load_tokenizer(pull_model(model))), TextToSql(dataset.contexts)
    schemas = task.schemas(dataset.available)
    constraint = SqlConstraint(renderer.tokenizer, renderer.end_id, schemas)
    accepting, masking, tokens = 0.0, 0.0, 0
    for context in schemas:  # not timed: made once for each database
        constraint.chooser(context)
    for example in dataset.available:
        chooser = constraint.chooser(task.prompt(example).context)
        for token in renderer.target_ids(task.target(example)):
            began = time.perf_counter()
            chooser.allowed()
            between = time.perf_counter()
            if not chooser.accept(token):
                break
            masking, accepting = masking + between - began, accepting + time.perf_counter() - between
            tokens += 1
    row = {"suite": ref, "model": model, "tokens": tokens, "ms_per_token": round(accepting / tokens * 1e3, 3)}
    return row | {"ms_per_mask": round(masking / tokens * 1e3, 3)}


def _unparsed(sql: str) -> str | None:
    try:
        sqlglot.parse_one(sql, read="sqlite")
    except sqlglot.errors.SqlglotError as error:
        return f"sqlglot: {error}"
    return None


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("job", choices=["coverage", "walks", "overhead"])
    parser.add_argument("suites", nargs="+")
    parser.add_argument("--databases", type=int, default=20)
    parser.add_argument("--walks", type=int, default=50)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    for ref in chosen.suites:
        if chosen.job == "coverage":
            row = coverage(ref)
        elif chosen.job == "overhead":
            row = overhead(ref, model=chosen.model)
        else:
            row = walks(ref, most=chosen.databases, count=chosen.walks, seed=chosen.seed)
        print(json.dumps(row))


if __name__ == "__main__":
    main()
