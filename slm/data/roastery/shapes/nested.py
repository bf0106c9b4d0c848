"""Queries within queries, and sets of rows combined."""

from slm.data.roastery.shape import Shape, cases, cross
from slm.data.roastery.shapes.parts import ABOVE_OR_BELOW, BY_CITY_OR_KIND

NESTED = (
    Shape(
        "coffees_against_average",
        "SELECT name FROM coffees WHERE origin = '{origin}'"
        " AND <column> <operator> (SELECT AVG(<column>) FROM coffees)",
        (
            "Which coffees from {origin} have a <column> <words> the average of all coffees?",
            "List the names of the {origin} coffees whose <column> is <words> the average <column>.",
            "Name the coffees from {origin} with a <column> <words> average.",
            "What coffees of origin {origin} have a <column> <words> the overall average?",
        ),
        cross(
            cases("column", ("price",), ("score",), ("stock",)),
            ABOVE_OR_BELOW,
        ),
    ),
    Shape(
        "employees_against_role",
        "SELECT name, salary FROM employees"
        " WHERE salary <operator> (SELECT AVG(salary) FROM employees WHERE role = '{role}')",
        (
            "Which employees earn <words> than the average {role}? Give name and salary.",
            "Show name and salary of employees who earn <words> than the average {role}.",
            "List name and salary of employees with a salary <level> the average salary of the role {role}.",
            "Give name and salary of everyone paid <words> than the average of the role {role}.",
        ),
        cases("operator words level", (">", "more", "above"), ("<", "less", "below")),
    ),
    Shape(
        "coffees_never_ordered",
        "SELECT name FROM coffees WHERE <condition> AND id NOT IN (SELECT coffee_id FROM items)",
        (
            "Which coffees <where> have never been ordered?",
            "List the names of coffees <where> that nobody ever ordered.",
            "Name the coffees <where> that are in no order.",
            "What coffees <where> were never ordered?",
        ),
        cases(
            "condition where",
            ("origin = '{origin}'", "from {origin}"),
            ("process = '{process}'", "of process {process}"),
            ("price > {price}", "costing more than {price}"),
        ),
    ),
    Shape(
        "customers_without_orders",
        "SELECT customers.name FROM customers LEFT JOIN orders ON orders.customer_id = customers.id"
        " WHERE customers.<column> = '{<column>}' AND orders.id IS NULL",
        (
            "Which customers <where> have no orders?",
            "List the names of customers <where> without any order.",
            "Name the customers <where> that never placed an order.",
            "What customers <where> have not ordered anything?",
        ),
        BY_CITY_OR_KIND,
    ),
    Shape(
        "orders_without_payment",
        "SELECT id FROM orders WHERE strftime('%Y-%m', ordered) = '{month}'"
        " AND NOT EXISTS (SELECT 1 FROM payments WHERE payments.order_id = orders.id)",
        (
            "Which orders placed in {month} have no payment?",
            "List the ids of orders of {month} without any payment.",
            "Give the ids of the orders from {month} that were never paid.",
            "For which orders placed in {month} is there no payment?",
        ),
    ),
    Shape(
        "customers_ordering_in_month",
        "SELECT name FROM customers WHERE <condition> AND id IN"
        " (SELECT customer_id FROM orders WHERE strftime('%Y-%m', ordered) = '{month}')",
        (
            "Which customers <where> placed an order in {month}?",
            "List the names of customers <where> that ordered in {month}.",
            "Name the customers <where> with at least one order in {month}.",
            "What customers <where> ordered something in {month}?",
        ),
        cases(
            "condition where",
            ("city = '{city}'", "in {city}"),
            ("kind = '{kind}'", "of kind {kind}"),
            ("email IS NULL", "without an email"),
        ),
    ),
    Shape(
        "customers_paying_by",
        "SELECT name FROM customers WHERE city = '{city}' AND id IN"
        " (SELECT orders.customer_id FROM payments JOIN orders ON payments.order_id = orders.id"
        " WHERE payments.method = '{method}')",
        (
            "Which customers in {city} have paid by {method}?",
            "List the names of customers in {city} with a payment by {method}.",
            "Name the {city} customers that ever paid by {method}.",
            "What customers in {city} made a payment with the method {method}?",
        ),
    ),
    Shape(
        "cities_with_one_kind_only",
        "SELECT city FROM customers WHERE kind = '{kind}' EXCEPT SELECT city FROM customers WHERE kind = '{kind2}'",
        (
            "Which cities have {kind} customers but no {kind2} customers?",
            "List the cities with a customer of kind {kind} but none of kind {kind2}.",
            "In which cities do we have a {kind} customer and no {kind2} customer?",
            "Name the cities that have a customer of kind {kind} but not one of kind {kind2}.",
        ),
    ),
    Shape(
        "origins_with_both_processes",
        "SELECT origin FROM coffees WHERE process = '{process}'"
        " INTERSECT SELECT origin FROM coffees WHERE process = '{process2}'",
        (
            "Which origins have both {process} and {process2} coffees?",
            "List the origins with a {process} coffee as well as a {process2} coffee.",
            "From which origins do we have both {process} and {process2} coffee?",
            "Name the origins that have coffees of process {process} and also of process {process2}.",
        ),
    ),
    Shape(
        "countries_of_suppliers_and_coffees",
        "SELECT country FROM suppliers WHERE rating > {rating} UNION SELECT origin FROM coffees WHERE price > {price}",
        (
            "List countries of suppliers rated above {rating} and origins of coffees costing more than {price}.",
            "Which countries have a supplier rated above {rating} or a coffee costing more than {price}?",
            "Give one list of supplier countries rated above {rating} and origins of coffees priced above {price}.",
            "Combine supplier countries with a rating above {rating} and origins of coffees that cost over {price}.",
        ),
    ),
)
