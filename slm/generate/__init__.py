from slm.generate.backend import Backend
from slm.generate.predictions import answerable, generate_all, read_predictions

__all__ = ["Backend", "answerable", "generate_all", "read_predictions"]
