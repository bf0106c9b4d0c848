"""Loads an exported GGUF file in llama.cpp, and compares its tokens and answers with those of transformers.

pip install xllamacpp    (llama.cpp ready to run; or --server URL of a llama-server that has loaded the file)
python scripts/check_llama_cpp.py runs/RUN/exports/gguf-q8_0 roastery:test --limit 8
"""

import argparse
import importlib
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from slm.data import load_dataset
from slm.generate.local import load_form_backend
from slm.models.forms import GGUF_FILE
from slm.tasks import Renderer, TextToSql

_TOKENS = 2048  # of a prompt with its answer


def main() -> int:
    """Returns 0 where every prompt has the same tokens and every answer is the same, else 1; 2 without llama.cpp."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("form", type=Path, help="a folder that slm export --to gguf wrote")
    parser.add_argument("suite", help="whose questions are asked, such as roastery:test")
    parser.add_argument("--limit", type=int, default=8, help="how many questions")
    parser.add_argument("--server", help="address of a running llama-server, such as http://127.0.0.1:8080")
    arguments = parser.parse_args()
    server = None if arguments.server else _start(arguments.form / GGUF_FILE)
    address = arguments.server or getattr(server, "listening_address", None)
    if address is None:
        print("llama.cpp cannot be started\n  try: pip install xllamacpp, or --server URL", file=sys.stderr)
        return 2
    backend = load_form_backend(arguments.form)
    dataset = load_dataset(arguments.suite, limit=arguments.limit)
    task = TextToSql(dataset.contexts)
    prompts = [(example.id, task.prompt(example)) for example in dataset.available]
    ours = {answer.example_id: answer.text for answer in backend.generate(prompts)}
    tokens = answers = 0
    for example_id, prompt in prompts:
        ids = list(backend.renderer.render(prompt).ids)
        text = {"content": backend.renderer.text(prompt), "add_special": not backend.renderer.chat}
        theirs = _ask(address, "tokenize", text | {"parse_special": True})["tokens"]
        said = _answer(address, ids, backend.max_new_tokens, backend.renderer)
        tokens, answers = tokens + (theirs == ids), answers + (said == ours[example_id])
        if theirs != ids or said != ours[example_id]:
            print(f"{example_id}: tokens {'equal' if theirs == ids else 'DIFFER'}")
            print(f"  transformers: {ours[example_id]}\n  llama.cpp:    {said}")
    print(f"{arguments.form}: {tokens} of {len(prompts)} prompts have equal tokens, {answers} equal answers")
    return int(tokens < len(prompts) or answers < len(prompts))


def _start(file: Path) -> Any:
    """A server in this process that has loaded the file; None where xllamacpp is not installed."""
    try:
        library: Any = importlib.import_module("xllamacpp")
    except ImportError:
        return None
    params = library.CommonParams()
    params.model.path = str(file)
    params.n_ctx, params.n_parallel, params.warmup, params.verbosity = _TOKENS, 1, False, -1
    return library.Server(params)


def _ask(address: str, path: str, question: dict[str, Any]) -> Any:
    request = urllib.request.Request(  # noqa: S310 - the address is the user's own
        f"{address}/{path}", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as reply:  # noqa: S310
        return json.load(reply)


def _answer(address: str, ids: list[int], longest: int, renderer: Renderer) -> str:
    """llama.cpp's greedy answer to the token ids of a prompt."""
    greedy = {"n_predict": longest, "temperature": 0.0, "top_k": 1, "cache_prompt": True, "return_tokens": True}
    reply = _ask(address, "completion", {"prompt": ids} | greedy)
    return renderer.decode([token for token in reply["tokens"] if token != renderer.end_id])


if __name__ == "__main__":
    sys.exit(main())
