"""Cases that several shapes share."""

from slm.data.roastery.shape import cases

# A customer is found by its city or by its kind: `WHERE <column> = '{<column>}'`, in words `customers <where>`.
BY_CITY_OR_KIND = cases("column where", ("city", "in {city}"), ("kind", "of kind {kind}"))
MORE_OR_LESS = cases("operator words", (">", "more than"), ("<", "less than"))
FOUR_BOUNDS = cases("operator words", (">", "more than"), ("<", "less than"), (">=", "at least"), ("<=", "at most"))
ABOVE_OR_BELOW = cases("operator words", (">", "above"), ("<", "below"))
AFTER_OR_BEFORE = cases("operator words", (">", "after"), ("<", "before"))
FUNCTIONS = cases("function words", ("AVG", "average"), ("MAX", "highest"), ("MIN", "lowest"))
