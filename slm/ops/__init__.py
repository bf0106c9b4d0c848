from slm.ops.budget import Choice, choose_form
from slm.ops.card import write_card
from slm.ops.coldstart import measure_cold_start
from slm.ops.export import export
from slm.ops.parity import Certificate, certificate_of

__all__ = [
    "Certificate",
    "Choice",
    "certificate_of",
    "choose_form",
    "export",
    "measure_cold_start",
    "write_card",
]
