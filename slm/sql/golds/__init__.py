"""What a gold asks for: order, ties, LIMIT and rounding; and what is wrong with golds."""

from slm.sql.golds.expect import admits, expect
from slm.sql.golds.plan import GoldPlan, plan_gold

__all__ = ["GoldPlan", "admits", "expect", "plan_gold"]
