"""Answers that cannot leave the schema of their database: a grammar, a scope, and the choice of tokens by both."""

from slm.generate.constrain.choice import Chooser, Constraint

# Raised when the same prompt may get another constrained answer than before, so that older ones are not taken for it.
VERSION = 5

__all__ = ["VERSION", "Chooser", "Constraint"]
