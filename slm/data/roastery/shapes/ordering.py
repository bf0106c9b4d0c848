"""Rows of one table in an order, and the first of them."""

from slm.data.roastery.shape import Shape, cases
from slm.data.roastery.shapes.parts import AFTER_OR_BEFORE, BY_CITY_OR_KIND

_BEST_COFFEE = cases(
    "words column direction",
    ("cheapest", "price", "ORDER BY price"),
    ("most expensive", "price", "ORDER BY price DESC"),
    ("best scored", "score", "ORDER BY score DESC"),
    ("most stocked", "stock", "ORDER BY stock DESC"),
)

ORDERING = (
    Shape(
        "one_coffee_from_origin",
        "SELECT name FROM coffees WHERE origin = '{origin}' <direction> LIMIT 1",
        (
            "Which is the <words> coffee from {origin}?",
            "Name the <words> coffee from {origin}.",
            "What is the <words> {origin} coffee called?",
            "Of all coffees from {origin}, which one is the <words>?",
        ),
        _BEST_COFFEE,
    ),
    Shape(
        "second_coffee_from_origin",
        "SELECT name FROM coffees WHERE origin = '{origin}' <direction> LIMIT 1 OFFSET 1",
        (
            "Which is the second <words> coffee from {origin}?",
            "Name the second <words> coffee from {origin}.",
            "What is the second <words> {origin} coffee called?",
            "Of all coffees from {origin}, which one is the second <words>?",
        ),
        _BEST_COFFEE,
    ),
    Shape(
        "top_coffees",
        "SELECT name, <column> FROM coffees <direction> LIMIT {few}",
        (
            "Show name and <column> of the {few} <words> coffees.",
            "What are our {few} <words> coffees? Give name and <column>.",
            "List the {few} <words> coffees with name and <column>.",
            "Which {few} coffees are the <words>? Give name and <column>.",
        ),
        _BEST_COFFEE,
    ),
    Shape(
        "top_coffees_of_process",
        "SELECT name, <column> FROM coffees WHERE process = '{process}' <direction> LIMIT {few}",
        (
            "Show name and <column> of the {few} <words> coffees of process {process}.",
            "What are the {few} <words> {process} coffees? Give name and <column>.",
            "List the {few} <words> coffees with the process {process}, with name and <column>.",
            "Which {few} {process} coffees are the <words>? Give name and <column>.",
        ),
        _BEST_COFFEE,
    ),
    Shape(
        "coffees_of_origin_sorted",
        "SELECT name, <column> FROM coffees WHERE origin = '{origin}' ORDER BY <column><direction>",
        (
            "Show name and <column> of the coffees from {origin}, <words>.",
            "List the {origin} coffees with name and <column>, <words>.",
            "Which coffees come from {origin}? Give name and <column>, <words>.",
            "Give name and <column> of all coffees from {origin}, <words>.",
        ),
        cases(
            "column direction words",
            ("price", "", "lowest price first"),
            ("price", " DESC", "highest price first"),
            ("stock", "", "lowest stock first"),
            ("stock", " DESC", "highest stock first"),
        ),
    ),
    Shape(
        "customers_alphabetically",
        "SELECT name FROM customers WHERE <column> = '{<column>}' ORDER BY name",
        (
            "List the names of customers <where> in alphabetical order.",
            "Which customers <where> do we have? Sort them by name.",
            "Show the customers <where>, sorted alphabetically by name.",
            "Name the customers <where> from A to Z.",
        ),
        BY_CITY_OR_KIND,
    ),
    Shape(
        "newest_customer",
        "SELECT name, joined FROM customers WHERE city = '{city}' ORDER BY joined<direction> LIMIT 1",
        (
            "Which customer in {city} joined <words>? Give name and joining date.",
            "Show the name and joining date of the {city} customer that joined <words>.",
            "Of the customers in {city}, who joined <words>? Give name and joining date.",
            "Give name and joining date of the customer in {city} who joined <words>.",
        ),
        cases("words direction", ("first", ""), ("last", " DESC")),
    ),
    Shape(
        "best_paid_employee",
        "SELECT name FROM employees WHERE role = '{role}' ORDER BY salary<direction> LIMIT 1",
        (
            "Which employee with the role {role} earns the <words>?",
            "Name the {role} with the <paid> salary.",
            "Who has the <paid> salary among employees working as {role}?",
            "Of all employees in the role {role}, who is paid the <words>?",
        ),
        cases("words paid direction", ("most", "highest", " DESC"), ("least", "lowest", "")),
    ),
    Shape(
        "largest_payments",
        "SELECT id, amount FROM payments WHERE method = '{method}' ORDER BY amount<direction> LIMIT {few}",
        (
            "Show id and amount of the {few} <words> payments by {method}.",
            "What are the {few} <words> {method} payments? Give id and amount.",
            "List the {few} <words> payments made by {method}, with id and amount.",
            "Give the ids and amounts of the {few} <words> payments whose method is {method}.",
        ),
        cases("words direction", ("largest", " DESC"), ("smallest", "")),
    ),
    Shape(
        "unshipped_orders_sorted",
        "SELECT id, ordered FROM orders WHERE shipped IS NULL AND ordered <operator> '{date}' ORDER BY ordered, id",
        (
            "Show id and order date of unshipped orders placed <words> {date}, sorted by order date and then id.",
            "Which orders placed <words> {date} are unshipped? Give id and order date, by order date and id.",
            "List id and order date of orders placed <words> {date} and still unshipped, sorted by order date and id.",
            "Give id and order date of orders placed <words> {date} and not shipped, sorted by order date and id.",
        ),
        AFTER_OR_BEFORE,
    ),
)
