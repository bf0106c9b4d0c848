"""Shapes of several tables that stand in the wide training split only (see `mixed`)."""

from slm.data.roastery.shape import Shape, cases, cross
from slm.data.roastery.shapes.joins import COFFEES_SUPPLIERS, ITEMS_COFFEES, ORDERS_CUSTOMERS, ORDERS_EMPLOYEES
from slm.data.roastery.shapes.mixed import COUNTED

_BOUGHT = (
    "items JOIN orders ON items.order_id = orders.id JOIN customers ON orders.customer_id = customers.id"
    " JOIN coffees ON items.coffee_id = coffees.id"
)
_MONTH = "strftime('%Y-%m', orders.ordered) = '{month}'"

SEVERAL_TABLES = (
    Shape(
        "mixed_with",
        "SELECT <columns> FROM suppliers WHERE <where> AND id IN (SELECT supplier_id FROM coffees WHERE <coffees>)",
        (
            "Which suppliers <who> have <what>? Give <shown>.",
            "List the <shown> of suppliers <who> with <what>.",
            "Show the <shown> of the suppliers <who> that supply <what>.",
            "Give <shown> of suppliers <who> that have <what>.",
        ),
        cross(
            cases(
                "columns shown where who",
                ("name", "name", "country = '{country}'", "in {country}"),
                ("name, country", "name and country", "rating > {rating}", "rated above {rating}"),
            ),
            cases(
                "coffees what",
                ("process = '{process}'", "a {process} coffee"),
                ("price > {price}", "a coffee that costs more than {price}"),
            ),
        ),
    ),
    Shape(
        "mixed_joined_count",
        "SELECT COUNT(*) FROM <join> WHERE <where>",
        COUNTED,
        cross(
            cases("join", (ORDERS_CUSTOMERS,)),
            cases(
                "where what",
                (f"{_MONTH} AND customers.city = '{{city}}'", "orders of customers in {city} placed in {month}"),
                (
                    "orders.ordered > '{date}' AND customers.kind = '{kind}'",
                    "orders of {kind} customers placed after {date}",
                ),
                ("customers.city = '{city}'", "orders of customers in {city}"),
            ),
        )
        + cross(
            cases("join", (ORDERS_EMPLOYEES,)),
            cases(
                "where what",
                ("employees.role = '{role}'", "orders taken by employees with the role {role}"),
                (
                    "orders.shipped IS NULL AND employees.role = '{role}'",
                    "unshipped orders taken by employees in the role {role}",
                ),
                (
                    "orders.shipped IS NULL AND employees.name = '{employee}'",
                    "orders of the employee {employee} that are still unshipped",
                ),
            ),
        )
        + cross(
            cases("join", (COFFEES_SUPPLIERS,)),
            cases(
                "where what",
                ("suppliers.country = '{country}'", "coffees of suppliers in {country}"),
                (
                    "coffees.process = '{process}' AND suppliers.rating > {rating}",
                    "{process} coffees of suppliers rated above {rating}",
                ),
            ),
        ),
    ),
    Shape(
        "mixed_joined_per_group",
        "SELECT <group>, <figure> FROM <join> WHERE <where> GROUP BY <group>",
        (
            "What is the <what> per <name>? Give <name> and number.",
            "Show each <name> and the <what>.",
            "For every <name>, give the <what>.",
            "Give the <name> and the <what>, grouped by <name>.",
        ),
        cross(
            cases(
                "join figure",
                (
                    ORDERS_CUSTOMERS,
                    "COUNT(*)",
                ),
            ),
            cases(
                "group name where what",
                ("customers.city", "customer city", "orders.shipped IS NULL", "number of unshipped orders"),
                (
                    "customers.kind",
                    "customer kind",
                    "orders.ordered > '{date}'",
                    "number of orders placed after {date}",
                ),
                (
                    "customers.kind",
                    "customer kind",
                    "customers.city = '{city}'",
                    "number of orders of customers in {city}",
                ),
            ),
        )
        + cross(
            cases(
                "join figure",
                (
                    ORDERS_EMPLOYEES,
                    "COUNT(*)",
                ),
            ),
            cases(
                "group name where what",
                ("employees.role", "employee role", _MONTH, "number of orders placed in {month}"),
                ("employees.name", "employee name", "orders.shipped IS NULL", "number of unshipped orders"),
            ),
        )
        + cross(
            cases(
                "join figure",
                (
                    ITEMS_COFFEES,
                    "SUM(items.bags)",
                ),
            ),
            cases(
                "group name where what",
                (
                    "coffees.name",
                    "coffee name",
                    "coffees.process = '{process}'",
                    "total bags sold of {process} coffees",
                ),
                (
                    "coffees.origin",
                    "origin",
                    "coffees.price > {price}",
                    "total bags sold of coffees that cost more than {price}",
                ),
                (
                    "coffees.process",
                    "process",
                    "coffees.score > {score}",
                    "total number of bags sold of coffees scored above {score}",
                ),
            ),
        )
        + cross(
            cases(
                "join figure",
                (
                    COFFEES_SUPPLIERS,
                    "COUNT(*)",
                ),
            ),
            cases(
                "group name where what",
                (
                    "suppliers.country",
                    "supplier country",
                    "coffees.process = '{process}'",
                    "number of {process} coffees",
                ),
                (
                    "suppliers.name",
                    "supplier name",
                    "coffees.origin = '{origin}'",
                    "number of coffees from {origin}",
                ),
            ),
        )
        + cross(
            cases(
                "join figure",
                (
                    COFFEES_SUPPLIERS,
                    "AVG(coffees.price)",
                ),
            ),
            cases(
                "group name where what",
                (
                    "suppliers.country",
                    "supplier country",
                    "coffees.origin = '{origin}'",
                    "average price of coffees from {origin}",
                ),
            ),
        ),
    ),
    Shape(
        "mixed_joined_names",
        "SELECT DISTINCT <name> FROM <join> WHERE <where>",
        (
            "Which <whose> <did>?",
            "List the names of <whose> that <did>.",
            "Name the <whose> that ever <did>.",
            "Who or what among the <whose> <did>? Give the names.",
        ),
        cross(
            cases(
                "join name",
                (
                    _BOUGHT,
                    "customers.name",
                ),
            ),
            cases(
                "where whose did",
                (
                    "coffees.process = '{process}' AND customers.kind = '{kind}'",
                    "{kind} customers",
                    "bought {process} coffees",
                ),
                (
                    "coffees.name = '{coffee}' AND customers.city = '{city}'",
                    "customers in {city}",
                    "ordered {coffee}",
                ),
                (
                    "coffees.price > {price} AND customers.city = '{city}'",
                    "customers in {city}",
                    "bought a coffee that costs more than {price}",
                ),
                (
                    "items.bags > {few} AND customers.kind = '{kind}'",
                    "customers of kind {kind}",
                    "ordered more than {few} bags of a coffee",
                ),
            ),
        )
        + cross(
            cases(
                "join name",
                (
                    _BOUGHT,
                    "coffees.name",
                ),
            ),
            cases(
                "where whose did",
                (
                    f"customers.city = '{{city}}' AND {_MONTH}",
                    "coffees",
                    "were ordered by customers in {city} in {month}",
                ),
                ("customers.name = '{customer}'", "coffees", "were bought by {customer}"),
            ),
        )
        + cross(
            cases(
                "join name",
                (
                    COFFEES_SUPPLIERS,
                    "suppliers.name",
                ),
            ),
            cases(
                "where whose did",
                (
                    "coffees.origin = '{origin}' AND coffees.process = '{process}'",
                    "suppliers",
                    "supply {process} coffees from {origin}",
                ),
                (
                    "coffees.origin = '{origin}' AND suppliers.country = '{country}'",
                    "suppliers in {country}",
                    "supply coffees from {origin}",
                ),
            ),
        ),
    ),
)
