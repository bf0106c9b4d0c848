"""Decoding within a schema: which golds it leaves possible, whether what it lets through runs, and what it takes.

    python benchmarks/constrain.py coverage spider:dev roastery:test
    python benchmarks/constrain.py walks spider:dev --databases 20 --walks 50
    python benchmarks/constrain.py overhead roastery:test --model smollm2-135m

`coverage`: share of the golds that the grammar accepts and of which every prefix is viable; the others by id, with the
place where they were refused, and whether SQLite prepares them. `walks`: random queries that the grammar and the scope
let through, byte by byte; each must parse with sqlglot and prepare in SQLite. `overhead`: what a token of an answer
costs while the likeliest token may come (golds, token by token), and what it costs to ask for all that may come. Each
suite ends with one line of JSON.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import apsw
import sqlglot
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper

from slm.data import Dataset, load_dataset
from slm.generate.constrain.chooser import SqlConstraint
from slm.generate.constrain.grammar import sql_grammar
from slm.generate.constrain.scope import SchemaScope
from slm.models import pull_model
from slm.models.load import load_tokenizer
from slm.sql import Schema, one_line, read_schema
from slm.tasks import Renderer, TextToSql

_END = 256
_LONGEST = 400


class _Bytes:
    """A tokenizer of bytes and an end, as llguidance wraps one."""

    eos_token_id = _END
    bos_token_id = None
    tokens = (*(bytes([value]) for value in range(256)), b"<end>")
    special_token_ids = (_END,)

    def __call__(self, text: bytes) -> list[int]:
        return list(text)


class Database:
    """What is needed to check and to make queries on one database."""

    def __init__(self, path: Path, tokenizer: LLTokenizer, *, double_quoted_text: bool) -> None:
        schema: Schema = read_schema(path)
        grammar = LLMatcher.grammar_from_lark(sql_grammar(schema, double_quoted_text=double_quoted_text))
        self._matcher = LLMatcher(tokenizer, grammar)
        self.scope = SchemaScope(schema, double_quoted_text=double_quoted_text)
        self._connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
        for kind in (apsw.SQLITE_DBCONFIG_DQS_DML, apsw.SQLITE_DBCONFIG_DQS_DDL):
            self._connection.config(kind, int(double_quoted_text))

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
    tokenizer = LLTokenizer(TokenizerWrapper(_Bytes()))
    texts = dataset.double_quoted_text
    used = sorted({example.context_id for example in dataset.available})
    return {name: Database(dataset.contexts[name], tokenizer, double_quoted_text=texts) for name in used}


def coverage(ref: str) -> dict[str, object]:
    """Prints each gold that would not be possible."""
    dataset = load_dataset(ref)
    known = databases(dataset)
    began, checks, outside, failing = time.perf_counter(), 0, 0, 0
    for example in dataset.available:
        sql = one_line(example.targets[0])
        where, made = refused(known[example.context_id], sql)
        checks += made
        if where is not None:
            trouble = known[example.context_id].trouble(sql)
            failing += trouble is not None
            outside += trouble is None
            print(f"{example.id}: {where}" + (f"\n    SQLite refuses it, too: {trouble}" if trouble else ""))
    micros = (time.perf_counter() - began) / max(checks, 1) * 1e6
    golds = len(dataset.available)
    share = 1 - outside / max(golds - failing, 1)
    row = {"suite": ref, "golds": golds, "sqlite_refuses": failing, "outside": outside, "covered": round(share, 5)}
    return row | {"micros_per_check": round(micros, 1)}


def walk(database: Database, dice: random.Random) -> tuple[str | None, float]:
    """A random query, None where it grew too long, or a beginning that nothing may follow; mean seconds of a byte."""
    matcher, text, began = database.matcher(), b"", time.perf_counter()
    while len(text) < _LONGEST:
        chosen = next(_allowed(database, matcher, text, dice), None)
        if chosen is None:
            return f"{text.decode()} (nothing may follow)", 0.0
        if chosen == _END:
            return text.decode(), (time.perf_counter() - began) / len(text)
        matcher.consume_token(chosen)
        text += bytes([chosen])
    return None, (time.perf_counter() - began) / len(text)


def _allowed(database: Database, matcher: LLMatcher, text: bytes, dice: random.Random) -> Iterator[int]:
    """What may come next, in random order, but the end first half of the time, and brackets and commas late."""
    bits = matcher.compute_bitmask()
    tokens = [
        token for token in range(_END + 1) if bits[token // 8] >> token % 8 & 1 and (token < 128 or token == _END)
    ]
    late = len(text) > _LONGEST // 4
    weight = {token: dice.random() + (chr(token) in "(,+-*/%|'\"" and late) - (token == _END) for token in tokens}
    for token in sorted(tokens, key=weight.__getitem__):
        shown = text if token == _END else text + bytes([token])
        if database.scope.viable(shown.decode(), finished=token == _END):
            yield token


def walks(ref: str, *, most: int, count: int, seed: int) -> dict[str, object]:
    """Prints each query that is let through and does not run."""
    dice = random.Random(seed)  # noqa: S311
    known = databases(load_dataset(ref))
    names = sorted(known)
    if len(names) > most:
        names = dice.sample(names, most)
    finished, long, wrong, seconds = 0, 0, 0, []
    for name in names:
        for _ in range(count):
            sql, took = walk(known[name], dice)
            seconds.append(took)
            if sql is None:
                long += 1
                continue
            finished += 1
            trouble = known[name].trouble(sql) or _unparsed(sql)
            if trouble:
                wrong += 1
                print(f"{name}: {trouble}\n    {sql}")
    row = {"suite": ref, "databases": len(names), "finished": finished, "too_long": long, "wrong": wrong}
    return row | {"ms_per_byte": round(sum(seconds) / max(len(seconds), 1) * 1e3, 3)}


def overhead(ref: str, *, model: str) -> dict[str, object]:
    """Milliseconds a token, and a mask of all tokens."""
    dataset = load_dataset(ref)
    renderer, task = Renderer(load_tokenizer(pull_model(model))), TextToSql(dataset.contexts)
    texts, schemas = dataset.double_quoted_text, task.schemas(dataset.available)
    constraint = SqlConstraint(renderer.tokenizer, renderer.end_id, schemas, double_quoted_text=texts)
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
