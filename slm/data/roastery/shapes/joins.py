"""Two to four tables: always `FROM child JOIN parent ON child.parent_id = parent.id`, every column with its table."""

# ruff: noqa: S608 (the strings are put together from fixed parts)

from slm.data.roastery.shape import Shape, cases, cross
from slm.data.roastery.shapes.parts import BY_CITY_OR_KIND, FUNCTIONS

_REVENUE = "SUM(items.bags * items.bag_price)"
ORDERS_CUSTOMERS = "orders JOIN customers ON orders.customer_id = customers.id"
ORDERS_EMPLOYEES = "orders JOIN employees ON orders.employee_id = employees.id"
ITEMS_COFFEES = "items JOIN coffees ON items.coffee_id = coffees.id"
_ITEMS_ORDERS = "items JOIN orders ON items.order_id = orders.id"
_PAYMENTS_ORDERS = "payments JOIN orders ON payments.order_id = orders.id"
_TO_CUSTOMERS = "JOIN customers ON orders.customer_id = customers.id"
COFFEES_SUPPLIERS = "coffees JOIN suppliers ON coffees.supplier_id = suppliers.id"

JOINS = (
    Shape(
        "coffees_of_supplier",
        f"SELECT coffees.name, coffees.<column> FROM {COFFEES_SUPPLIERS} WHERE suppliers.name = '{{supplier}}'",
        (
            "Show the name and <column> of the coffees supplied by {supplier}.",
            "Which coffees does {supplier} supply? Give name and <column>.",
            "List name and <column> of every coffee from the supplier {supplier}.",
            "Give name and <column> of the coffees whose supplier is {supplier}.",
        ),
        cases("column", ("price",), ("origin",), ("process",)),
    ),
    Shape(
        "supplier_of_coffee",
        f"SELECT suppliers.name, suppliers.<column> FROM {COFFEES_SUPPLIERS} WHERE coffees.name = '{{coffee}}'",
        (
            "Who supplies the coffee {coffee}? Give the name and <column> of the supplier.",
            "Show name and <column> of the supplier of {coffee}.",
            "Which supplier does {coffee} come from? Give its name and <column>.",
            "Give the supplier's name and <column> for the coffee {coffee}.",
        ),
        cases("column", ("country",), ("rating",)),
    ),
    Shape(
        "coffees_of_supplier_country",
        f"SELECT coffees.name FROM {COFFEES_SUPPLIERS}"
        f" WHERE suppliers.country = '{{country}}' AND coffees.price > {{price}}",
        (
            "Which coffees of suppliers in {country} cost more than {price}?",
            "List the names of coffees priced above {price} that have a supplier in {country}.",
            "Name the coffees that cost more than {price} and are supplied from {country}.",
            "What coffees with a price over {price} come from suppliers in {country}?",
        ),
    ),
    Shape(
        "price_by_supplier",
        f"SELECT suppliers.name, <function>(coffees.price) FROM {COFFEES_SUPPLIERS}"
        " WHERE suppliers.country = '{country}' GROUP BY suppliers.name",
        (
            "What is the <words> coffee price per supplier in {country}? Give supplier name and price.",
            "Show each supplier in {country} and the <words> price of its coffees.",
            "For every supplier in {country}, give the name and the <words> coffee price.",
            "Give supplier name and <words> coffee price for the suppliers in {country}, grouped by supplier.",
        ),
        FUNCTIONS,
    ),
    Shape(
        "count_orders_of_customer",
        f"SELECT COUNT(*) FROM {ORDERS_CUSTOMERS} WHERE customers.name = '{{customer}}'",
        (
            "How many orders did {customer} place?",
            "Count the orders of the customer {customer}.",
            "What is the number of orders placed by {customer}?",
            "How often has {customer} ordered?",
        ),
    ),
    Shape(
        "orders_of_customer",
        f"SELECT orders.id, orders.ordered FROM {ORDERS_CUSTOMERS}"
        " WHERE customers.name = '{customer}' ORDER BY orders.ordered<direction> LIMIT 1",
        (
            "What is the <words> order of {customer}? Give order id and order date.",
            "Show id and order date of the <words> order placed by {customer}.",
            "Give the order id and order date of the <words> order of the customer {customer}.",
            "When did {customer} place the <words> order? Give order id and order date.",
        ),
        cases("words direction", ("first", ""), ("latest", " DESC")),
    ),
    Shape(
        "unshipped_orders_of_city",
        f"SELECT orders.id, customers.name FROM {ORDERS_CUSTOMERS}"
        " WHERE orders.shipped IS NULL AND customers.<column> = '{<column>}'",
        (
            "Show order id and customer name of unshipped orders from customers <where>.",
            "Which orders of customers <where> are not shipped? Give order id and customer name.",
            "List order id and customer name of the orders not yet shipped to customers <where>.",
            "Give the order ids and customer names of orders still unshipped for customers <where>.",
        ),
        BY_CITY_OR_KIND,
    ),
    Shape(
        "orders_per_employee",
        f"SELECT employees.name, COUNT(*) FROM {ORDERS_EMPLOYEES}"
        " WHERE strftime('%Y-%m', orders.ordered) = '{month}' GROUP BY employees.name",
        (
            "How many orders did our employees take in {month}? Give employee name and number of orders.",
            "Show the employee name and number of orders of each employee who took orders in {month}.",
            "Count the orders placed in {month} per employee name.",
            "Give employee name and number of orders of {month}, grouped by employee.",
        ),
    ),
    Shape(
        "items_of_order",
        f"SELECT coffees.name, items.bags FROM {ITEMS_COFFEES} WHERE items.order_id = {{order}}",
        (
            "Which coffees are in order {order}, and how many bags of each?",
            "Show coffee name and bags for the items of order {order}.",
            "List the coffee names and the bags in order {order}.",
            "What did order {order} contain? Give coffee name and bags.",
        ),
    ),
    Shape(
        "total_for_coffee",
        f"SELECT <total> FROM {ITEMS_COFFEES} WHERE coffees.<column> = '{{<pool>}}'",
        (
            "What is the total <words> of <what>?",
            "How much is the total <words> for <what>?",
            "Give the total <words> of <what>.",
            "For <what>, what is the total <words>?",
        ),
        cross(
            cases("total words", ("SUM(items.bags)", "number of bags sold"), (_REVENUE, "revenue")),
            cases(
                "column pool what",
                ("name", "coffee", "the coffee {coffee}"),
                ("process", "process", "{process} coffees"),
            ),
        ),
    ),
    Shape(
        "best_selling_coffees",
        f"SELECT coffees.name, <total> FROM {ITEMS_COFFEES}"
        " WHERE coffees.origin = '{origin}' GROUP BY coffees.name ORDER BY <total> DESC LIMIT {few}",
        (
            "Show the {few} coffees from {origin} with the highest total <words>: name and total.",
            "What are the top {few} coffees from {origin} by total <words>? Give name and total.",
            "List the {few} {origin} coffees with the most <words>, with name and total.",
            "Give name and total of the {few} coffees from {origin} ranked first by total <words>.",
        ),
        cases("total words", ("SUM(items.bags)", "bags sold"), (_REVENUE, "revenue")),
    ),
    Shape(
        "revenue_of_customer",
        f"SELECT {_REVENUE} FROM {_ITEMS_ORDERS} {_TO_CUSTOMERS} WHERE customers.<column> = '{{<pool>}}'",
        (
            "What is the total revenue from <whom>?",
            "How much revenue came from <whom>?",
            "Give the total revenue of <whom>.",
            "What revenue did <whom> bring in total?",
        ),
        cases(
            "column pool whom",
            ("name", "customer", "the customer {customer}"),
            ("city", "city", "customers in {city}"),
            ("kind", "kind", "customers of kind {kind}"),
        ),
    ),
    Shape(
        "payments_of_customer",
        f"SELECT payments.paid, payments.amount FROM {_PAYMENTS_ORDERS} {_TO_CUSTOMERS}"
        " WHERE customers.name = '{customer}'",
        (
            "Show the payment date and amount of all payments of {customer}.",
            "Which payments did the customer {customer} make? Give payment date and amount.",
            "List payment date and amount for the payments made by {customer}.",
            "When and how much did {customer} pay? Give payment date and amount.",
        ),
    ),
    Shape(
        "payments_per_customer_group",
        f"SELECT customers.<group>, <function>(payments.amount) FROM {_PAYMENTS_ORDERS} {_TO_CUSTOMERS}"
        " WHERE payments.method = '{method}' GROUP BY customers.<group>",
        (
            "What is the <words> amount of {method} payments per customer <group>?",
            "Show each customer <group> and the <words> amount of its payments by {method}.",
            "For every customer <group>, give the <words> amount paid by {method}.",
            "Give customer <group> and <words> amount of payments with method {method}, grouped by <group>.",
        ),
        cross(
            cases("group", ("city",), ("kind",)),
            cases("function words", ("SUM", "total"), ("AVG", "average"), ("MAX", "highest")),
        ),
    ),
    Shape(
        "customer_with_most_orders",
        f"SELECT customers.name FROM {ORDERS_CUSTOMERS}"
        " WHERE customers.<column> = '{<column>}' GROUP BY customers.name ORDER BY COUNT(*) DESC LIMIT 1",
        (
            "Which customer <where> placed the most orders?",
            "Name the customer <where> with the largest number of orders.",
            "Of the customers <where>, who ordered most often?",
            "Among customers <where>, who has the most orders?",
        ),
        BY_CITY_OR_KIND,
    ),
    Shape(
        "customers_with_many_orders",
        f"SELECT customers.name, COUNT(*) FROM {ORDERS_CUSTOMERS}"
        " WHERE customers.<column> = '{<column>}' GROUP BY customers.name HAVING COUNT(*) > {few}",
        (
            "Which customers <where> placed more than {few} orders? Give name and number of orders.",
            "Show name and number of orders of customers <where> with more than {few} orders.",
            "List the customers <where> that have more than {few} orders: name and number of orders.",
            "Give customer name and order count for customers <where> whose count is above {few}.",
        ),
        BY_CITY_OR_KIND,
    ),
    Shape(
        "employees_serving_city",
        f"SELECT DISTINCT employees.name FROM {ORDERS_EMPLOYEES} {_TO_CUSTOMERS}"
        " WHERE customers.city = '{city}' AND strftime('%Y-%m', orders.ordered) = '{month}'",
        (
            "Which employees took orders from customers in {city} in {month}?",
            "List the names of the employees who took an order of a {city} customer in {month}.",
            "Name the employees that handled orders placed in {month} by customers in {city}.",
            "Who among the employees took orders from {city} in {month}?",
        ),
    ),
    Shape(
        "customers_of_coffee",
        f"SELECT DISTINCT customers.name FROM {_ITEMS_ORDERS} {_TO_CUSTOMERS}"
        " JOIN coffees ON items.coffee_id = coffees.id WHERE coffees.name = '{coffee}'",
        (
            "Which customers have ordered {coffee}?",
            "List the names of customers who bought the coffee {coffee}.",
            "Name the customers that ever ordered the coffee {coffee}.",
            "Who among our customers bought {coffee}?",
        ),
    ),
    Shape(
        "suppliers_with_coffee_count",
        "SELECT suppliers.name, COUNT(coffees.id) FROM suppliers"
        " LEFT JOIN coffees ON coffees.supplier_id = suppliers.id"
        " WHERE suppliers.<condition> GROUP BY suppliers.name",
        (
            "How many coffees does each supplier <where> have, including suppliers with none?",
            "Show every supplier <where> and its number of coffees, even when that is zero.",
            "Count the coffees per supplier <where>, including those without any coffee.",
            "Give supplier name and number of coffees for all suppliers <where>, zero included.",
        ),
        cases(
            "condition where",
            ("country = '{country}'", "in {country}"),
            ("rating > {rating}", "rated above {rating}"),
            ("rating < {rating}", "rated below {rating}"),
        ),
    ),
)
