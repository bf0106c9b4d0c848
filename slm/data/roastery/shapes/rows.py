"""Kinds of rows that questions of the wide training split are about."""

from slm.data.roastery.shape import Case, cases, cross

# What is asked about, by a short name: the table, the condition on its rows, and how the rows are called.
_ROWS = {
    "process": ("coffees", "process = '{process}'", "{process} coffees"),
    "origin": ("coffees", "origin = '{origin}'", "coffees from {origin}"),
    "dear": ("coffees", "price > {price}", "coffees that cost more than {price}"),
    "scarce": ("coffees", "stock < {stock}", "coffees with less than {stock} in stock"),
    "plenty": ("coffees", "stock > {stock}", "coffees with more than {stock} in stock"),
    "good": ("coffees", "score > {score}", "coffees with a score above {score}"),
    "named": ("coffees", "name LIKE '%{word}%'", "coffees with {word} in their name"),
    "country": ("suppliers", "country = '{country}'", "suppliers in {country}"),
    "trusted": ("suppliers", "rating > {rating}", "suppliers rated above {rating}"),
    "doubted": ("suppliers", "rating < {rating}", "suppliers rated below {rating}"),
    "role": ("employees", "role = '{role}'", "employees with the role {role}"),
    "paid well": ("employees", "salary > {salary}", "employees who earn more than {salary}"),
    "paid less": ("employees", "salary < {salary}", "employees who earn less than {salary}"),
    "hired before": ("employees", "hired < '{early_date}'", "employees hired before {early_date}"),
    "hired after": ("employees", "hired > '{early_date}'", "employees hired after {early_date}"),
    "method": ("payments", "method = '{method}'", "payments by {method}"),
    "large": ("payments", "amount > {amount}", "payments above {amount}"),
    "small": ("payments", "amount < {amount}", "payments below {amount}"),
    "month": ("payments", "strftime('%Y-%m', paid) = '{month}'", "payments made in {month}"),
    "kind": ("customers", "kind = '{kind}'", "{kind} customers"),
    "city": ("customers", "city = '{city}'", "customers in {city}"),
    "no email": ("customers", "email IS NULL", "customers without an email"),
    "joined before": ("customers", "joined < '{early_date}'", "customers who joined before {early_date}"),
    "joined after": ("customers", "joined > '{early_date}'", "customers who joined after {early_date}"),
    "firm": ("customers", "name LIKE '%{firm_word}%'", "customers with {firm_word} in their name"),
    # two conditions
    "cheap process": (
        "coffees",
        "process = '{process}' AND price < {price}",
        "{process} coffees that cost less than {price}",
    ),
    "good origin": (
        "coffees",
        "origin = '{origin}' AND score > {score}",
        "coffees from {origin} that score above {score}",
    ),
    "process of origin": (
        "coffees",
        "origin = '{origin}' AND process = '{process}'",
        "{process} coffees from {origin}",
    ),
    "kind in city": ("customers", "kind = '{kind}' AND city = '{city}'", "{kind} customers in {city}"),
    "no email of kind": (
        "customers",
        "email IS NULL AND kind = '{kind}'",
        "customers of kind {kind} without an email",
    ),
    "kind joined before": (
        "customers",
        "joined < '{early_date}' AND kind = '{kind}'",
        "{kind} customers who joined before {early_date}",
    ),
    "role paid less": (
        "employees",
        "role = '{role}' AND salary < {salary}",
        "employees in the role {role} who earn less than {salary}",
    ),
    "role paid well": (
        "employees",
        "salary > {salary} AND role = '{role}'",
        "employees in the role {role} who earn more than {salary}",
    ),
    "old and paid well": (
        "employees",
        "hired < '{early_date}' AND salary > {salary}",
        "employees hired before {early_date} who earn more than {salary}",
    ),
    "trusted in country": (
        "suppliers",
        "country = '{country}' AND rating > {rating}",
        "suppliers in {country} rated above {rating}",
    ),
    "doubted in country": (
        "suppliers",
        "rating < {rating} AND country = '{country}'",
        "suppliers in {country} rated below {rating}",
    ),
    "large by method": (
        "payments",
        "method = '{method}' AND amount > {amount}",
        "payments by {method} above {amount}",
    ),
    "month by method": (
        "payments",
        "method = '{method}' AND strftime('%Y-%m', paid) = '{month}'",
        "{method} payments made in {month}",
    ),
    "after by method": (
        "payments",
        "paid > '{date}' AND method = '{method}'",
        "payments by {method} made after {date}",
    ),
    "unshipped of month": (
        "orders",
        "shipped IS NULL AND strftime('%Y-%m', ordered) = '{month}'",
        "orders of {month} that are not shipped",
    ),
    "unshipped after": (
        "orders",
        "ordered > '{date}' AND shipped IS NULL",
        "unshipped orders placed after {date}",
    ),
    # one value or another
    "two cities": (
        "customers",
        "city IN ('{city}', '{city2}') AND kind = '{kind}'",
        "{kind} customers in {city} or {city2}",
    ),
    "no email in two cities": (
        "customers",
        "city IN ('{city}', '{city2}') AND email IS NULL",
        "customers in {city} and {city2} without an email",
    ),
    "two origins": (
        "coffees",
        "origin IN ('{origin}', '{origin2}') AND price < {price}",
        "coffees from {origin} or {origin2} that cost less than {price}",
    ),
    "process of two origins": (
        "coffees",
        "origin IN ('{origin}', '{origin2}') AND process = '{process}'",
        "{process} coffees from {origin} and {origin2}",
    ),
    "two roles": (
        "employees",
        "role IN ('{role}', '{role2}') AND salary > {salary}",
        "{role} and {role2} employees who earn more than {salary}",
    ),
    "two countries": (
        "suppliers",
        "country IN ('{country}', '{country2}')",
        "suppliers in {country} or {country2}",
    ),
    "two methods": (
        "payments",
        "method IN ('{method}', '{method2}') AND amount > {amount}",
        "{method} or {method2} payments above {amount}",
    ),
}


def about(*names: str) -> tuple[Case, ...]:
    """A case for each kind of rows: its table, condition and words."""
    return cases("table where what", *(_ROWS[name] for name in names))


def of(*rows: tuple[str, ...], more: str) -> tuple[Case, ...]:
    """Rows whose last item names what they are about; `more` names the items before it."""
    return tuple(case for *items, name in rows for case in cross(cases(more, tuple(items)), about(name)))
