from slm.evaluate.evaluate import UNAVAILABLE, accuracy, evaluate
from slm.evaluate.paired import Difference, mcnemar, paired_difference
from slm.evaluate.predictions import read_predictions_file
from slm.evaluate.results import read_result, write_result

__all__ = [
    "UNAVAILABLE",
    "Difference",
    "accuracy",
    "evaluate",
    "mcnemar",
    "paired_difference",
    "read_predictions_file",
    "read_result",
    "write_result",
]
