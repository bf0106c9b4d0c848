from slm.sql.difficulty import difficulty
from slm.sql.extract import extract_sql
from slm.sql.judge import Pair, judge
from slm.sql.oneline import one_line
from slm.sql.schema import Column, ForeignKey, Schema, Table, read_schema, schema_text
from slm.sql.values import ValueIndex

__all__ = [
    "Column",
    "ForeignKey",
    "Pair",
    "Schema",
    "Table",
    "ValueIndex",
    "difficulty",
    "extract_sql",
    "judge",
    "one_line",
    "read_schema",
    "schema_text",
]
