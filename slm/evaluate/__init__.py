from slm.evaluate.evaluate import accuracy, evaluate
from slm.evaluate.paired import Difference, paired_difference
from slm.evaluate.predictions import read_predictions_file
from slm.evaluate.results import read_result, write_result

__all__ = [
    "Difference",
    "accuracy",
    "evaluate",
    "paired_difference",
    "read_predictions_file",
    "read_result",
    "write_result",
]
