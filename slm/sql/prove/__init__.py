from slm.sql.prove.facts import Facts, read_facts
from slm.sql.prove.prove import prove_equal

__all__ = ["Facts", "prove_equal", "read_facts"]
