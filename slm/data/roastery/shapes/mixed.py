"""Shapes that stand in the wide training split only: the skills of the others in other company. Here, of one table.

None of their queries is of a shape that stands in test only, nor would be with another literal, comparison, function or
direction (`tests/unit/data/test_roastery.py`).
"""

from slm.data.roastery.shape import Shape, cases, cross
from slm.data.roastery.shapes.parts import FUNCTIONS
from slm.data.roastery.shapes.rows import about, of

_SHOWN = (
    "Show <shown> of the <what>.",
    "Which <what> are there? Give <shown>.",
    "List the <shown> of the <what>.",
    "Give <shown> of all <what>.",
)
COUNTED = (
    "How many <what> are there?",
    "Count the <what>.",
    "What is the number of <what>?",
    "Tell me how many <what> there are.",
)

ONE_TABLE = (
    Shape(
        "mixed_count",
        "SELECT COUNT(*) FROM <table> WHERE <where>",
        (*COUNTED, "How many <what> do we have?"),
        about(
            "process",
            "dear",
            "scarce",
            "country",
            "doubted",
            "role",
            "paid well",
            "hired before",
            "method",
            "small",
            "joined after",
            "named",
            "firm",
        ),
    ),
    Shape(
        "mixed_count_of_two",
        "SELECT COUNT(*) FROM <table> WHERE <where>",
        COUNTED,
        about(
            "cheap process",
            "good origin",
            "process of origin",
            "kind in city",
            "no email of kind",
            "role paid less",
            "trusted in country",
            "large by method",
            "month by method",
            "unshipped of month",
        ),
    ),
    Shape(
        "mixed_list",
        "SELECT <columns> FROM <table> WHERE <where>",
        _SHOWN,
        of(
            ("name, city", "name and city", "kind"),
            ("name, kind", "name and kind", "city"),
            ("name, email", "name and email", "joined before"),
            ("name, joined", "name and joining date", "firm"),
            ("name, country", "name and country", "trusted"),
            ("name, rating", "name and rating", "country"),
            ("name, role", "name and role", "paid well"),
            ("name, role", "name and role", "hired after"),
            ("id, method", "id and method", "large"),
            ("name, origin", "name and origin", "process"),
            ("name, price", "name and price", "named"),
            ("name, stock", "name and stock", "scarce"),
            more="columns shown",
        ),
    ),
    Shape(
        "mixed_list_of_two",
        "SELECT <columns> FROM <table> WHERE <where>",
        _SHOWN,
        of(
            ("name, salary", "name and salary", "role paid well"),
            ("name, salary", "name and salary", "old and paid well"),
            ("name, joined", "name and joining date", "kind joined before"),
            ("name, rating", "name and rating", "doubted in country"),
            ("name, price", "name and price", "cheap process"),
            ("name, score", "name and score", "good origin"),
            ("id, paid", "id and payment date", "after by method"),
            ("id, ordered", "id and order date", "unshipped after"),
            more="columns shown",
        ),
    ),
    Shape(
        "mixed_either",
        "SELECT <columns> FROM <table> WHERE <where>",
        _SHOWN,
        of(
            ("name, city", "name and city", "two cities"),
            ("name, city", "name and city", "no email in two cities"),
            ("name, origin", "name and origin", "two origins"),
            ("name, origin", "name and origin", "process of two origins"),
            ("name, role", "name and role", "two roles"),
            ("name, country", "name and country", "two countries"),
            ("id, method", "id and method", "two methods"),
            more="columns shown",
        ),
    ),
    Shape(
        "mixed_figure",
        "SELECT <function>(<column>) FROM <table> WHERE <where>",
        (
            "What is the <words> <column> of <what>?",
            "Give the <words> <column> of the <what>.",
            "Find the <words> <column> among <what>.",
            "For <what>, what is the <words> <column>?",
        ),
        cross(
            FUNCTIONS,
            of(
                ("salary", "role"),
                ("salary", "hired after"),
                ("rating", "country"),
                ("amount", "month"),
                ("price", "process"),
                ("stock", "dear"),
                more="column",
            ),
        ),
    ),
    Shape(
        "mixed_figure_per_group",
        "SELECT <group>, <function>(<column>) FROM <table> GROUP BY <group>",
        (
            "What is the <words> <column> of <table> per <group>?",
            "Show each <group> and the <words> <column> of its <table>.",
            "For every <group>, give the <words> <column> of the <table>.",
            "Give the <group> and the <words> <column> of <table>, grouped by <group>.",
        ),
        cross(
            cases("function words", ("AVG", "average"), ("MAX", "highest"), ("SUM", "total")),
            cases(
                "group column table",
                ("role", "salary", "employees"),
                ("country", "rating", "suppliers"),
                ("process", "stock", "coffees"),
            ),
        ),
    ),
    Shape(
        "mixed_figure_per_group_where",
        "SELECT <group>, <function>(<column>) FROM <table> WHERE <where> GROUP BY <group>",
        (
            "What is the <words> <column> of <what> per <group>?",
            "Show each <group> and the <words> <column> of its <what>.",
            "For every <group>, give the <words> <column> of the <what>.",
            "Give the <group> and the <words> <column> of <what>, grouped by <group>.",
        ),
        cross(
            FUNCTIONS,
            of(
                ("role", "salary", "hired after"),
                ("country", "rating", "trusted"),
                ("method", "amount", "month"),
                ("origin", "score", "dear"),
                ("origin", "price", "scarce"),
                ("process", "score", "plenty"),
                more="group column",
            ),
        ),
    ),
    Shape(
        "mixed_count_per_group_where",
        "SELECT <group>, COUNT(*) FROM <table> WHERE <where> GROUP BY <group>",
        (
            "How many <what> are there per <group>?",
            "Show each <group> and its number of <what>.",
            "For every <group>, count the <what>.",
            "Give the <group> and the count of <what>, grouped by <group>.",
        ),
        of(
            ("origin", "process"),
            ("process", "origin"),
            ("process", "dear"),
            ("role", "paid well"),
            ("method", "large"),
            ("method", "month"),
            ("country", "doubted"),
            ("city", "joined after"),
            ("kind", "no email"),
            more="group",
        ),
    ),
    Shape(
        "mixed_first",
        "SELECT name FROM <table> WHERE <where> ORDER BY <order> LIMIT 1",
        (
            "Of all <what>, which one is the <words>?",
            "Which of the <what> is the <words>?",
            "Name the <words> one of the <what>.",
            "What is the <words> of all <what> called?",
        ),
        of(
            ("score DESC", "best scored", "process"),
            ("stock", "least stocked", "process"),
            ("price DESC", "most expensive", "plenty"),
            ("price", "cheapest", "good"),
            ("rating DESC", "best rated", "country"),
            ("rating", "worst rated", "country"),
            ("joined DESC", "newest", "kind"),
            ("joined", "oldest", "city"),
            ("hired", "first hired", "role"),
            ("hired DESC", "last hired", "role"),
            ("hired DESC", "last hired", "paid well"),
            more="order words",
        ),
    ),
    Shape(
        "mixed_without",
        "SELECT <result> FROM <table> WHERE <where> AND id NOT IN (SELECT <other>)",
        (
            "<ask> <what> are there <without>?",
            "<list> the <what> <without>.",
            "<ask> <what> exist <without>?",
            "<list> all <what> <without>.",
        ),
        of(
            ("COUNT(*)", "How many", "Count", "coffee_id FROM items", "that were never ordered", "process"),
            ("COUNT(*)", "How many", "Count", "coffee_id FROM items", "that are in no order", "origin"),
            ("name", "Which", "Name", "employee_id FROM orders", "who took no order", "role"),
            ("name", "Which", "Name", "employee_id FROM orders", "without any order", "paid less"),
            ("name", "Which", "Name", "coffee_id FROM items", "that nobody ever ordered", "plenty"),
            ("name", "Which", "Name", "coffee_id FROM items", "without any order", "good"),
            more="result ask list other without",
        ),
    ),
)
