from slm.sql.compare.columns import find_permutation
from slm.sql.compare.compare import Outcome, Reason, compare
from slm.sql.compare.readings import bird, test_suite
from slm.sql.compare.rows import matches
from slm.sql.compare.scripts import test_suite_line, test_suite_ordered, test_suite_sql, without_distinct

__all__ = [
    "Outcome",
    "Reason",
    "bird",
    "compare",
    "find_permutation",
    "matches",
    "test_suite",
    "test_suite_line",
    "test_suite_ordered",
    "test_suite_sql",
    "without_distinct",
]
