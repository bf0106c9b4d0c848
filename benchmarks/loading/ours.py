"""Asks the reference server with slm's load client.

python benchmarks/loading/ours.py URL STREAMS REQUESTS TOKENS FILE
"""

import sys
from pathlib import Path

from slm.bench.load import Bench, Plan, Retry, Target, closed
from slm.records import Prompt


def main() -> None:
    """One closed loop, in the same classes as `slm bench`."""
    url, streams, requests, tokens, file = sys.argv[1:]
    asked = [(str(n), Prompt(context="schema " * 200, question=f"question {n}")) for n in range(50)]
    plan = Plan(suite="benchmark", url=url, model="model", prompts="", settings={})
    target = Target(url, "model", max_tokens=int(tokens))
    Bench(plan, target, asked, Path(file), Retry(0)).run(closed(int(streams)), int(requests), ["cold"])


if __name__ == "__main__":
    main()
