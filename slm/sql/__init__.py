from slm.sql.canonical import canonical
from slm.sql.difficulty import difficulty
from slm.sql.extract import extract_sql
from slm.sql.judge import Judge, judge
from slm.sql.oneline import one_line
from slm.sql.pairs import Pair, read_pairs
from slm.sql.queries import kill_scores, lint_golds, run_query
from slm.sql.schema import Column, ForeignKey, Schema, Table, read_schema, schema_text
from slm.sql.values import ValueIndex

__all__ = [
    "Column",
    "ForeignKey",
    "Judge",
    "Pair",
    "Schema",
    "Table",
    "ValueIndex",
    "canonical",
    "difficulty",
    "extract_sql",
    "judge",
    "kill_scores",
    "lint_golds",
    "one_line",
    "read_pairs",
    "read_schema",
    "run_query",
    "schema_text",
]
