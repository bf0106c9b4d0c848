"""Figures per group, over one table: the group is always shown, and first."""

from slm.data.roastery.shape import Shape, cases, cross
from slm.data.roastery.shapes.parts import ABOVE_OR_BELOW, BY_CITY_OR_KIND, FUNCTIONS, MORE_OR_LESS

_GROUPED = cases(
    "table column",
    ("customers", "city"),
    ("customers", "kind"),
    ("coffees", "origin"),
    ("coffees", "process"),
    ("employees", "role"),
    ("payments", "method"),
    ("suppliers", "country"),
)

GROUPS = (
    Shape(
        "count_per_group",
        "SELECT <column>, COUNT(*) FROM <table> GROUP BY <column>",
        (
            "How many <table> are there per <column>?",
            "Show each <column> and its number of <table>.",
            "Count the <table> for every <column>.",
            "For each <column>, give the number of <table>.",
            "Give the <column> and the count of <table>, grouped by <column>.",
        ),
        _GROUPED,
    ),
    Shape(
        "figure_per_group",
        "SELECT <group>, <function>(<column>) FROM coffees GROUP BY <group>",
        (
            "What is the <words> <column> of coffees per <group>?",
            "Show each <group> and the <words> <column> of its coffees.",
            "For every <group>, give the <words> <column> of the coffees.",
            "Give the <group> and the <words> <column> of coffees, grouped by <group>.",
        ),
        cross(
            cases("group", ("origin",), ("process",)),
            FUNCTIONS,
            cases("column", ("price",), ("score",), ("stock",)),
        ),
    ),
    Shape(
        "count_per_group_where",
        "SELECT <group>, COUNT(*) FROM customers WHERE <column> = '{<column>}' GROUP BY <group>",
        (
            "How many customers <where> are there per <group>?",
            "Show each <group> and its number of customers <where>.",
            "For every <group>, count the customers <where>.",
            "Give the <group> and the count of customers <where>, grouped by <group>.",
        ),
        cases("group column where", ("kind", "city", "in {city}"), ("city", "kind", "of kind {kind}")),
    ),
    Shape(
        "figure_per_group_where",
        "SELECT process, <function>(<column>) FROM coffees WHERE origin = '{origin}' GROUP BY process",
        (
            "What is the <words> <column> of coffees from {origin} per process?",
            "Show each process and the <words> <column> of its coffees from {origin}.",
            "For every process, give the <words> <column> of the {origin} coffees.",
            "Give the process and the <words> <column> of coffees from {origin}, grouped by process.",
        ),
        cross(
            FUNCTIONS,
            cases("column", ("price",), ("stock",)),
        ),
    ),
    Shape(
        "groups_larger_than",
        "SELECT <column> FROM <table> GROUP BY <column> HAVING COUNT(*) <operator> {few}",
        (
            "Which <column> values have <words> {few} <table>?",
            "List each <column> with <words> {few} <table>.",
            "For which <column> are there <words> {few} <table>?",
            "Show every <column> that has <words> {few} <table>.",
        ),
        cross(
            cases(
                "table column",
                ("customers", "city"),
                ("coffees", "origin"),
                ("coffees", "process"),
                ("suppliers", "country"),
            ),
            cases("operator words", (">", "more than"), ("<", "fewer than"), (">=", "at least")),
        ),
    ),
    Shape(
        "groups_with_figure_above",
        "SELECT <group>, AVG(price) FROM coffees GROUP BY <group> HAVING AVG(price) <operator> {price}",
        (
            "Which <group> values have an average coffee price <words> {price}? Give <group> and average price.",
            "Show each <group> whose coffees cost <words> {price} on average, with the average price.",
            "List <group> and average price where the average coffee price is <words> {price}.",
            "For which <group> is the average coffee price <words> {price}? Give <group> and average price.",
        ),
        cross(
            cases("group", ("origin",), ("process",)),
            ABOVE_OR_BELOW,
        ),
    ),
    Shape(
        "largest_group_where",
        "SELECT <group> FROM customers WHERE <column> = '{<column>}' GROUP BY <group> ORDER BY COUNT(*) DESC LIMIT 1",
        (
            "Which <group> has the most customers <where>?",
            "Name the <group> with the largest number of customers <where>.",
            "What is the most frequent <group> among customers <where>?",
            "Among customers <where>, which <group> is the most common?",
        ),
        cases("group column where", ("kind", "city", "in {city}"), ("city", "kind", "of kind {kind}")),
    ),
    Shape(
        "methods_by_total",
        "SELECT method, SUM(amount) FROM payments WHERE amount <operator> {amount} GROUP BY method"
        " ORDER BY SUM(amount) DESC",
        (
            "What is the total amount of payments <words> {amount} per method? Highest total first.",
            "Show each method and the total amount of its payments <words> {amount}, highest total first.",
            "Add up the payments <words> {amount} by method, sorted from highest to lowest total.",
            "For every method, give the total amount of payments <words> {amount}, highest total first.",
        ),
        ABOVE_OR_BELOW,
    ),
    Shape(
        "payments_per_month",
        "SELECT strftime('%Y-%m', paid), <function> FROM payments WHERE method = '{method}'"
        " GROUP BY strftime('%Y-%m', paid)",
        (
            "Show each month and the <words> by {method}.",
            "For every month, what is the <words> by {method}?",
            "Give the month and the <words> by {method}, grouped by month.",
            "What is the <words> by {method} in each month? Give month and figure.",
        ),
        cases("function words", ("SUM(amount)", "total amount of payments"), ("COUNT(*)", "number of payments")),
    ),
    Shape(
        "joined_per_year",
        "SELECT strftime('%Y', joined), COUNT(*) FROM customers WHERE <column> = '{<column>}'"
        " GROUP BY strftime('%Y', joined)",
        (
            "How many customers <where> joined per year?",
            "Show each year and the number of customers <where> that joined in it.",
            "Count the customers <where> by the year they joined.",
            "For every year, how many customers <where> joined?",
        ),
        BY_CITY_OR_KIND,
    ),
    Shape(
        "coffees_sold_more_than",
        "SELECT coffee_id, SUM(bags) FROM items GROUP BY coffee_id HAVING SUM(bags) <operator> {stock}",
        (
            "Which coffee ids sold <words> {stock} bags? Give coffee id and total bags.",
            "Show each coffee id and its total bags sold, only where the total is <words> {stock}.",
            "List coffee id and total bags for coffee ids with <words> {stock} bags sold.",
            "For which coffee ids is the total of bags <words> {stock}? Give coffee id and total bags.",
        ),
        MORE_OR_LESS,
    ),
)
