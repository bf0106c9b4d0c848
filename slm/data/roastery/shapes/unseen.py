"""Shapes that stand in test only: each recombines skills that train teaches one by one."""

from slm.data.roastery.shape import Shape, cases
from slm.data.roastery.shapes.parts import ABOVE_OR_BELOW, AFTER_OR_BEFORE

UNSEEN = (
    Shape(
        "count_coffees_from_origin",
        "SELECT COUNT(*) FROM coffees WHERE origin = '{origin}'",
        (
            "How many coffees come from {origin}?",
            "Count the coffees from {origin}.",
            "What is the number of {origin} coffees?",
            "How many coffees do we have from {origin}?",
        ),
    ),
    Shape(
        "payment_figure_per_method",
        "SELECT method, <function>(amount) FROM payments GROUP BY method",
        (
            "What is the <words> amount of payments per method?",
            "Show each method and the <words> amount of its payments.",
            "For every method, give the <words> amount of the payments.",
            "Give the method and the <words> amount of payments, grouped by method.",
        ),
        cases("function words", ("AVG", "average"), ("MAX", "highest"), ("MIN", "lowest"), ("SUM", "total")),
    ),
    Shape(
        "employees_hired",
        "SELECT name, hired FROM employees WHERE hired <operator> '{early_date}' AND role = '{role}'",
        (
            "Which employees with the role {role} were hired <words> {early_date}? Give name and hiring date.",
            "Show name and hiring date of employees working as {role} who were hired <words> {early_date}.",
            "List name and hiring date of every {role} hired <words> {early_date}.",
            "Give the name and hiring date of employees with the role {role} hired <words> {early_date}.",
        ),
        AFTER_OR_BEFORE,
    ),
    Shape(
        "cheapest_coffee_of_process",
        "SELECT name FROM coffees WHERE process = '{process}' ORDER BY price<direction> LIMIT 1",
        (
            "Which is the <words> coffee of process {process}?",
            "What is the <words> {process} coffee called?",
            "Name the <words> {process} coffee.",
            "Of all {process} coffees, which one is the <words>?",
        ),
        cases("words direction", ("cheapest", ""), ("most expensive", " DESC")),
    ),
    Shape(
        "customers_of_two_kinds",
        "SELECT name, kind FROM customers WHERE kind IN ('{kind}', '{kind2}') AND city = '{city}'",
        (
            "Show name and kind of the customers in {city} that are of kind {kind} or {kind2}.",
            "Which {kind} or {kind2} customers are in {city}? Give name and kind.",
            "List the name and kind of {kind} and {kind2} customers in {city}.",
            "Give name and kind of every customer in {city} whose kind is {kind} or {kind2}.",
        ),
    ),
    Shape(
        "customers_with_word_in_name",
        "SELECT name, city FROM customers WHERE name LIKE '%{firm_word}%'",
        (
            "Which customers have {firm_word} in their name? Give name and city.",
            "Show the name and city of customers whose name contains {firm_word}.",
            "List name and city of all customers with the word {firm_word} in the name.",
            "Give the name and city of customers called something with {firm_word}.",
        ),
    ),
    Shape(
        "suppliers_without_coffees",
        "SELECT name FROM suppliers WHERE rating <operator> {rating} AND id NOT IN (SELECT supplier_id FROM coffees)",
        (
            "Which suppliers rated <words> {rating} have no coffees?",
            "List the names of suppliers rated <words> {rating} without any coffee.",
            "Name the suppliers with a rating <words> {rating} that supply no coffee.",
            "What suppliers rated <words> {rating} have no coffee?",
        ),
        ABOVE_OR_BELOW,
    ),
    Shape(
        "count_unshipped_orders_of_city",
        "SELECT COUNT(*) FROM orders JOIN customers ON orders.customer_id = customers.id"
        " WHERE orders.shipped IS NULL AND customers.city = '{city}'",
        (
            "How many orders of customers in {city} have not been shipped?",
            "Count the unshipped orders of customers in {city}.",
            "What is the number of orders from customers in {city} that are not shipped?",
            "How many orders of customers in {city} are still unshipped?",
        ),
    ),
    Shape(
        "orders_per_customer_city",
        "SELECT customers.city, COUNT(*) FROM orders JOIN customers ON orders.customer_id = customers.id"
        " WHERE strftime('%Y-%m', orders.ordered) = '{month}' GROUP BY customers.city",
        (
            "How many orders were placed in {month} per customer city? Give city and number.",
            "Show each customer city and the number of orders placed in {month}.",
            "For every customer city, count the orders placed in {month}.",
            "Give customer city and number of orders of {month}, grouped by city.",
        ),
    ),
    Shape(
        "bags_per_process",
        "SELECT coffees.process, SUM(items.bags) FROM items JOIN coffees ON items.coffee_id = coffees.id"
        " WHERE coffees.origin = '{origin}' GROUP BY coffees.process",
        (
            "Show each process and the total bags sold of its coffees from {origin}.",
            "For every process, give the total number of bags sold of the {origin} coffees.",
            "What is the total number of bags sold of coffees from {origin} per process?",
            "Give process and total bags sold of coffees from {origin}, grouped by process.",
        ),
    ),
    Shape(
        "customers_of_origin",
        "SELECT DISTINCT customers.name FROM items JOIN orders ON items.order_id = orders.id"
        " JOIN customers ON orders.customer_id = customers.id JOIN coffees ON items.coffee_id = coffees.id"
        " WHERE coffees.origin = '{origin}' AND customers.city = '{city}'",
        (
            "Which customers in {city} have ordered a coffee from {origin}?",
            "List the names of customers in {city} who bought coffees from {origin}.",
            "Name the customers in {city} that ever ordered a coffee from {origin}.",
            "Who among our customers in {city} bought coffee from {origin}?",
        ),
    ),
    Shape(
        "average_price_per_origin",
        "SELECT origin, AVG(price) FROM coffees WHERE process = '{process}' GROUP BY origin",
        (
            "What is the average price of {process} coffees per origin?",
            "Show each origin and the average price of its {process} coffees.",
            "For every origin, give the average price of the {process} coffees.",
            "Give the origin and the average price of {process} coffees, grouped by origin.",
        ),
    ),
)
