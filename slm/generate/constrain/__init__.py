"""Answers that cannot leave the schema of their database: a grammar, a scope, and the choice of tokens by both."""

from slm.generate.constrain.choice import Chooser, Constraint

__all__ = ["Chooser", "Constraint"]
