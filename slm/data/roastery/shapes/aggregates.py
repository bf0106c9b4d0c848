"""One figure, or two, over one table."""

from slm.data.roastery.shape import Shape, cases, cross
from slm.data.roastery.shapes.parts import AFTER_OR_BEFORE, BY_CITY_OR_KIND, FOUR_BOUNDS, FUNCTIONS

AGGREGATES = (
    Shape(
        "count_customers",
        "SELECT COUNT(*) FROM customers WHERE <column> = '{<column>}'",
        (
            "How many customers <where> are there?",
            "Count the customers <where>.",
            "What is the number of customers <where>?",
            "How many customers <where> do we have?",
        ),
        BY_CITY_OR_KIND,
    ),
    Shape(
        "count_coffees_by_score",
        "SELECT COUNT(*) FROM coffees WHERE score <operator> {score}",
        (
            "How many coffees score <words> {score}?",
            "Count the coffees with a score of <words> {score}.",
            "What is the number of coffees whose score is <words> {score}?",
            "How many of our coffees have a score of <words> {score}?",
        ),
        FOUR_BOUNDS,
    ),
    Shape(
        "count_orders_of_month",
        "SELECT COUNT(*) FROM orders WHERE strftime('%Y-%m', <column>) = '{month}'",
        (
            "How many orders were <words> in {month}?",
            "Count the orders <words> in {month}.",
            "What is the number of orders that were <words> in {month}?",
            "In {month}, how many orders were <words>?",
        ),
        cases("column words", ("ordered", "placed"), ("shipped", "shipped")),
    ),
    Shape(
        "count_orders_between_dates",
        "SELECT COUNT(*) FROM orders WHERE ordered BETWEEN '{date}' AND '{date2}'",
        (
            "How many orders were placed between {date} and {date2}?",
            "Count the orders placed from {date} to {date2}.",
            "What is the number of orders placed between {date} and {date2}?",
            "From {date} to {date2}, how many orders came in?",
        ),
    ),
    Shape(
        "count_customers_of_year",
        "SELECT COUNT(*) FROM customers WHERE strftime('%Y', joined) = '{year}' AND city = '{city}'",
        (
            "How many customers in {city} joined in {year}?",
            "Count the customers from {city} that joined in {year}.",
            "What is the number of {city} customers who joined in {year}?",
            "In {year}, how many customers in {city} joined?",
        ),
    ),
    Shape(
        "count_unshipped_orders",
        "SELECT COUNT(*) FROM orders WHERE shipped IS NULL AND ordered <operator> '{date}'",
        (
            "How many orders placed <words> {date} have not been shipped?",
            "Count the unshipped orders placed <words> {date}.",
            "What is the number of orders placed <words> {date} that are not shipped?",
            "How many orders placed <words> {date} are still unshipped?",
        ),
        AFTER_OR_BEFORE,
    ),
    Shape(
        "count_different_origins",
        "SELECT COUNT(DISTINCT <column>) FROM coffees WHERE price <operator> {price}",
        (
            "How many different <words> are there among coffees that cost <than> {price}?",
            "Count the distinct <words> of coffees priced <than> {price}.",
            "What is the number of different <words> of the coffees costing <than> {price}?",
            "How many distinct <words> do the coffees with a price of <than> {price} have?",
        ),
        cross(
            cases("column words", ("origin", "origins"), ("process", "processes"), ("supplier_id", "suppliers")),
            cases("operator than", (">", "more than"), ("<", "less than")),
        ),
    ),
    Shape(
        "coffee_figure_for_origin",
        "SELECT <function>(<column>) FROM coffees WHERE origin = '{origin}'",
        (
            "What is the <words> <column> of coffees from {origin}?",
            "Give the <words> <column> of the {origin} coffees.",
            "Find the <words> <column> among coffees from {origin}.",
            "For coffees from {origin}, what is the <words> <column>?",
        ),
        cross(FUNCTIONS, cases("column", ("price",), ("score",), ("stock",))),
    ),
    Shape(
        "price_span_of_process",
        "SELECT MIN(<column>), MAX(<column>) FROM coffees WHERE process = '{process}'",
        (
            "What are the lowest and the highest <column> of {process} coffees?",
            "Show the minimum and maximum <column> of coffees with the process {process}.",
            "Give the lowest and highest <column> among {process} coffees.",
            "For coffees of process {process}, what are the lowest and highest <column>?",
        ),
        cases("column", ("price",), ("score",), ("stock",)),
    ),
    Shape(
        "payments_of_month",
        "SELECT SUM(amount) FROM payments WHERE strftime('%Y-%m', paid) = '{month}'",
        (
            "What is the total amount of payments paid in {month}?",
            "How much was paid in total in {month}?",
            "Give the sum of all payment amounts paid in {month}.",
            "Add up the amounts of the payments made in {month}.",
        ),
    ),
    Shape(
        "payments_by_method_since",
        "SELECT <function>(amount) FROM payments WHERE method = '{method}' AND paid > '{date}'",
        (
            "What is the <words> amount of payments by {method} after {date}?",
            "Give the <words> amount paid by {method} after {date}.",
            "For {method} payments made after {date}, what is the <words> amount?",
            "Find the <words> amount of the payments with method {method} paid after {date}.",
        ),
        cases("function words", ("SUM", "total"), ("AVG", "average"), ("MAX", "highest"), ("MIN", "lowest")),
    ),
    Shape(
        "revenue_of_order",
        "SELECT SUM(bags * bag_price) FROM items WHERE order_id = {order}",
        (
            "What is the revenue (bags times bag price) of order {order}?",
            "How much revenue did order {order} bring?",
            "Give the total revenue of the items in order {order}.",
            "Compute the revenue of order {order}.",
        ),
    ),
    Shape(
        "percentage_without_email",
        "SELECT 100.0 * SUM(CASE WHEN email IS NULL THEN 1 ELSE 0 END) / COUNT(*) FROM customers"
        " WHERE <column> = '{<column>}'",
        (
            "What percentage of customers <where> have no email?",
            "Of the customers <where>, what percentage lack an email?",
            "Give the percentage of customers <where> without an email.",
            "How many percent of the customers <where> have no email?",
        ),
        BY_CITY_OR_KIND,
    ),
    Shape(
        "days_to_ship",
        "SELECT AVG(julianday(shipped) - julianday(ordered)) FROM orders WHERE strftime('%Y-%m', ordered) = '{month}'",
        (
            "What is the average number of days from order to shipping for orders placed in {month}?",
            "On average, how many days did it take to ship the orders placed in {month}?",
            "Give the average shipping time in days of orders from {month}.",
            "How many days passed on average between order and shipping for the orders of {month}?",
        ),
    ),
)
