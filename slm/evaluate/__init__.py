from slm.evaluate.evaluate import evaluate
from slm.evaluate.predictions import read_predictions_file
from slm.evaluate.results import read_result, write_result

__all__ = ["evaluate", "read_predictions_file", "read_result", "write_result"]
