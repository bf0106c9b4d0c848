"""Answers one prompt with an exported form and ends: `python -m slm.generate.local FOLDER < prompt.json`."""

import sys
from pathlib import Path

from slm.errors import SlmError
from slm.generate.local.backend import load_form_backend
from slm.records import Prompt


def main() -> int:
    """Reads a `Prompt` as JSON from stdin, prints the `Generation` as one line of JSON; returns the exit code."""
    prompt = Prompt.model_validate_json(sys.stdin.read())
    try:
        (answer,) = load_form_backend(Path(sys.argv[1])).generate([("first", prompt)])
    except SlmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print(answer.model_dump_json(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
