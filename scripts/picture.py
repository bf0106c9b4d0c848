"""Draws docs/quickstart.svg, the README's picture, from the published results of the quickstart.

python scripts/picture.py
"""

import io
import re
from pathlib import Path

from rich.console import Console

from slm.cli.output import print_results
from slm.files import write_text
from slm.leaderboard import read_results

ROOT = Path(__file__).parents[1]


def main() -> None:
    """Print what `slm run recipes/quickstart.yaml` printed at its end, as a picture of a terminal."""
    found = read_results(ROOT / "eval/results/roastery-test")
    results = [result for result in found if result.form is None and result.load is None]
    console = Console(record=True, width=100, file=io.StringIO())
    console.print("[bold]$ slm run recipes/quickstart.yaml[/bold]")
    print_results(sorted(results, key=lambda result: bool(result.tuned)), console)
    # Without the fonts that rich would have a browser fetch from elsewhere.
    picture = re.sub(r"@font-face \{.*?\}", "", console.export_svg(title="slm"), flags=re.DOTALL)
    write_text(ROOT / "docs/quickstart.svg", picture)


if __name__ == "__main__":
    main()
