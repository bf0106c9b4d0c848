"""What the tests that run commands share."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
# Overrides that make any recipe a matter of seconds.
TINY_RUN = [
    "data.train=roastery:train",
    "data.limit=24",
    "train.batch_tokens=1500",
    "evaluate.suite=roastery:test",
    "evaluate.limit=6",
    "generate.max_new_tokens=8",
]
