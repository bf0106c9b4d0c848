"""Rows of one table that meet a condition."""

from slm.data.roastery.shape import Shape, cases
from slm.data.roastery.shapes.parts import AFTER_OR_BEFORE, FOUR_BOUNDS, MORE_OR_LESS

FILTERS = (
    Shape(
        "coffees_from_origin",
        "SELECT name FROM coffees WHERE origin = '{origin}'",
        (
            "Which coffees come from {origin}?",
            "List the names of the coffees from {origin}.",
            "What coffees of {origin} origin do we sell?",
            "Name all coffees whose origin is {origin}.",
        ),
    ),
    Shape(
        "coffee_column",
        "SELECT <column> FROM coffees WHERE name = '{coffee}'",
        (
            "What is the <column> of {coffee}?",
            "Tell me the <column> of the coffee {coffee}.",
            "Look up the <column> of the coffee called {coffee}.",
            "Which <column> does the coffee {coffee} have?",
        ),
        cases("column", ("price",), ("score",), ("stock",), ("process",), ("origin",)),
    ),
    Shape(
        "customer_column",
        "SELECT <column> FROM customers WHERE name = '{customer}'",
        (
            "What is the <column> of the customer {customer}?",
            "Give me the <column> of {customer}.",
            "Look up the <column> we have for the customer {customer}.",
            "Show the <column> of the customer named {customer}.",
        ),
        cases("column", ("email",), ("kind",), ("city",)),
    ),
    Shape(
        "customers_of_kind_in_city",
        "SELECT name FROM customers WHERE kind = '{kind}' AND city = '{city}'",
        (
            "Which customers in {city} are of kind {kind}?",
            "List the names of {kind} customers in {city}.",
            "What are our {kind} customers in {city} called?",
            "Name every customer of kind {kind} in {city}.",
        ),
    ),
    Shape(
        "customers_not_of_kind",
        "SELECT name FROM customers WHERE city = '{city}' AND kind <> '{kind}'",
        (
            "Which customers in {city} are not of kind {kind}?",
            "List the names of the customers in {city} other than those of kind {kind}.",
            "Name the customers in {city} except the {kind} ones.",
            "What customers do we have in {city} whose kind is not {kind}?",
        ),
    ),
    Shape(
        "coffees_compared_with_number",
        "SELECT name, price FROM coffees WHERE price <operator> {price}",
        (
            "Show the name and price of coffees that cost <words> {price}.",
            "Which coffees cost <words> {price}? Give name and price.",
            "List name and price of every coffee with a price of <words> {price}.",
            "Give the names and prices of all coffees costing <words> {price}.",
        ),
        FOUR_BOUNDS,
    ),
    Shape(
        "coffees_in_price_range",
        "SELECT name FROM coffees WHERE price BETWEEN {price} AND {price2}",
        (
            "Which coffees cost between {price} and {price2}?",
            "List the names of the coffees priced from {price} to {price2}.",
            "Name the coffees with a price between {price} and {price2}.",
            "What coffees can I get for {price} to {price2} a bag?",
        ),
    ),
    Shape(
        "coffees_with_word_in_name",
        "SELECT name FROM coffees WHERE name LIKE '%{word}%'",
        (
            "Which coffees have {word} in their name?",
            "List the names of coffees whose name contains {word}.",
            "Find all coffees with the word {word} in the name.",
            "What coffees are called something with {word}?",
        ),
    ),
    Shape(
        "coffees_of_two_processes",
        "SELECT name, process FROM coffees WHERE process IN ('{process}', '{process2}') AND price > {price}",
        (
            "Show name and process of the coffees processed as {process} or {process2} that cost more than {price}.",
            "Which {process} or {process2} coffees cost more than {price}? Give name and process.",
            "List the name and process of {process} and {process2} coffees with a price above {price}.",
            "Give name and process of every coffee priced above {price} whose process is {process} or {process2}.",
        ),
    ),
    Shape(
        "coffees_either_or",
        "SELECT name FROM coffees WHERE origin = '{origin}' OR score > {score}",
        (
            "Which coffees come from {origin} or score above {score}?",
            "List the names of coffees that are from {origin} or have a score above {score}.",
            "Name the coffees whose origin is {origin} or whose score is more than {score}.",
            "What coffees either come from {origin} or have a score higher than {score}?",
        ),
    ),
    Shape(
        "coffees_not_scored",
        "SELECT name FROM coffees WHERE score IS NULL AND price <operator> {price}",
        (
            "Which coffees without a score cost <words> {price}?",
            "List the names of coffees that cost <words> {price} and have no score yet.",
            "Name the coffees costing <words> {price} whose score is missing.",
            "What coffees that cost <words> {price} have not been scored?",
        ),
        MORE_OR_LESS,
    ),
    Shape(
        "customers_without_email",
        "SELECT name FROM customers WHERE email IS NULL AND city = '{city}'",
        (
            "Which customers in {city} have no email?",
            "List the names of customers in {city} without an email.",
            "For which customers in {city} is the email missing?",
            "Name the {city} customers that gave us no email.",
        ),
    ),
    Shape(
        "customers_joined",
        "SELECT name, joined FROM customers WHERE joined <operator> '{early_date}' AND city = '{city}'",
        (
            "Which customers in {city} joined <words> {early_date}? Give name and joining date.",
            "Show name and joining date of the customers in {city} who joined <words> {early_date}.",
            "List the {city} customers that joined <words> {early_date}, with name and joining date.",
            "Give the name and joining date of every customer in {city} that joined <words> {early_date}.",
        ),
        AFTER_OR_BEFORE,
    ),
    Shape(
        "employees_of_role",
        "SELECT name, <column> FROM employees WHERE role = '{role}'",
        (
            "Show the name and <words> of every employee with the role {role}.",
            "List name and <words> of our employees working as {role}.",
            "Who works as {role}? Give name and <words>.",
            "Give name and <words> of the employees whose role is {role}.",
        ),
        cases("column words", ("salary", "salary"), ("hired", "hiring date")),
    ),
    Shape(
        "payments_above_amount",
        "SELECT id, amount FROM payments WHERE method = '{method}' AND amount > {amount}",
        (
            "Show the id and amount of payments by {method} of more than {amount}.",
            "Which {method} payments were above {amount}? Give id and amount.",
            "List id and amount of every payment over {amount} made by {method}.",
            "Give the ids and amounts of payments with method {method} and an amount greater than {amount}.",
        ),
    ),
    Shape(
        "unshipped_orders_of_month",
        "SELECT id FROM orders WHERE shipped IS NULL AND strftime('%Y-%m', ordered) = '{month}'",
        (
            "Which orders from {month} have not been shipped?",
            "List the ids of orders placed in {month} that are not shipped yet.",
            "Give the ids of unshipped orders of {month}.",
            "What orders of {month} are still unshipped?",
        ),
    ),
    Shape(
        "stock_value",
        "SELECT name, price * stock FROM coffees WHERE origin = '{origin}'",
        (
            "Show the name and stock value (price times stock) of each coffee from {origin}.",
            "What is the stock value, price times stock, of the coffees from {origin}? Give name and value.",
            "List name and price times stock for all {origin} coffees.",
            "For coffees from {origin}, give the name and the price multiplied by the stock.",
        ),
    ),
    Shape(
        "different_values",
        "SELECT DISTINCT <column> FROM coffees WHERE <other> = '{<other>}'",
        (
            "Which different <column> values occur among <what>?",
            "List the different <column> values of <what>.",
            "What distinct <column> values do <what> have?",
            "Show each <column> once that occurs among <what>.",
        ),
        cases(
            "column other what",
            ("process", "origin", "coffees from {origin}"),
            ("origin", "process", "{process} coffees"),
        ),
    ),
    Shape(
        "low_stock_flag",
        "SELECT name, CASE WHEN stock < {stock} THEN 'yes' ELSE 'no' END FROM coffees WHERE origin = '{origin}'",
        (
            "For each coffee from {origin}, show the name and yes or no: is its stock below {stock}?",
            "List the {origin} coffees by name with yes if the stock is below {stock} and no otherwise.",
            "Show the name of every {origin} coffee and whether its stock is below {stock} (yes or no).",
            "Give name and a yes or no flag for stock below {stock} of all coffees from {origin}.",
        ),
    ),
)
