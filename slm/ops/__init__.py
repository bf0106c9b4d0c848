from slm.ops.card import write_card
from slm.ops.parity import Certificate, certificate_of

__all__ = ["Certificate", "certificate_of", "write_card"]
