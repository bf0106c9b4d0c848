"""Rebuild the embedded suite: `python -m slm.data.roastery [FOLDER]`, by default the `eval/` that ships with slm."""

import json
import sys
from pathlib import Path

from slm.data.roastery import build
from slm.paths import shipped

if __name__ == "__main__":
    print(json.dumps(build(Path(sys.argv[1]) if len(sys.argv) > 1 else shipped("eval"))))
