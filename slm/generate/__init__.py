from slm.generate.backend import Backend
from slm.generate.predictions import generate_all, read_predictions

__all__ = ["Backend", "generate_all", "read_predictions"]
