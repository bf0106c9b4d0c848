from slm.data.roastery.shapes.aggregates import AGGREGATES
from slm.data.roastery.shapes.filters import FILTERS
from slm.data.roastery.shapes.groups import GROUPS
from slm.data.roastery.shapes.joins import JOINS
from slm.data.roastery.shapes.mixed import ONE_TABLE
from slm.data.roastery.shapes.mixed_joins import SEVERAL_TABLES
from slm.data.roastery.shapes.nested import NESTED
from slm.data.roastery.shapes.ordering import ORDERING
from slm.data.roastery.shapes.unseen import UNSEEN

__all__ = ["MIXED", "SEEN", "UNSEEN"]

SEEN = FILTERS + ORDERING + AGGREGATES + GROUPS + JOINS + NESTED
MIXED = ONE_TABLE + SEVERAL_TABLES
