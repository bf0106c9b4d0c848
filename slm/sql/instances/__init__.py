"""Further database instances on which near-miss queries show themselves."""

from slm.sql.instances.build import build, top_up
from slm.sql.instances.constraints import Constraints, mine
from slm.sql.instances.instance import Instance, InstanceSet, decode, encode

__all__ = ["Constraints", "Instance", "InstanceSet", "build", "decode", "encode", "mine", "top_up"]
