from slm.ops.budget import Choice, choose_form, parse_size
from slm.ops.coldstart import measure_cold_start
from slm.ops.export import export

__all__ = ["Choice", "choose_form", "export", "measure_cold_start", "parse_size"]
