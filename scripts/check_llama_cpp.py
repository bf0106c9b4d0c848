"""Loads an exported GGUF file in llama.cpp, and compares its tokens and answers with those of transformers.

pip install llama-cpp-python    (builds llama.cpp; not among the packages that slm needs)
python scripts/check_llama_cpp.py runs/RUN/exports/gguf-q8_0 roastery:test --limit 8
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from slm.data import load_dataset
from slm.generate.local import load_form_backend
from slm.models.forms import GGUF_FILE
from slm.records import Prompt
from slm.tasks import TextToSql


def main() -> int:
    """Returns 0 where every prompt has the same tokens and every answer is the same, else 1; 2 without llama.cpp."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("form", type=Path, help="a folder that slm export --to gguf wrote")
    parser.add_argument("suite", help="whose questions are asked, such as roastery:test")
    parser.add_argument("--limit", type=int, default=8, help="how many questions")
    arguments = parser.parse_args()
    try:
        from llama_cpp import Llama  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        print("llama_cpp cannot be imported\n  try: pip install llama-cpp-python", file=sys.stderr)
        return 2
    backend = load_form_backend(arguments.form)
    dataset = load_dataset(arguments.suite, limit=arguments.limit)
    task = TextToSql(dataset.contexts)
    prompts = [(example.id, task.prompt(example)) for example in dataset.available]
    ours = {answer.example_id: answer.text for answer in backend.generate(prompts)}
    llama = Llama(str(arguments.form / GGUF_FILE), n_ctx=2048, verbose=False)
    tokens = answers = 0
    for example_id, prompt in prompts:
        ids = list(backend.renderer.render(prompt).ids)
        same_tokens = _tokenize(llama, backend.renderer, prompt) == ids
        theirs = _answer(llama, backend, ids)
        tokens, answers = tokens + same_tokens, answers + (theirs == ours[example_id])
        if not same_tokens or theirs != ours[example_id]:
            print(f"{example_id}: tokens {'equal' if same_tokens else 'DIFFER'}")
            print(f"  transformers: {ours[example_id]}\n  llama.cpp:    {theirs}")
    print(f"{arguments.form}: {tokens} of {len(prompts)} prompts have equal tokens, {answers} equal answers")
    return int(tokens < len(prompts) or answers < len(prompts))


def _tokenize(llama: Any, renderer: Any, prompt: Prompt) -> list[int]:
    """The prompt's text, special tokens included, as llama.cpp cuts it."""
    return list(llama.tokenize(renderer.text(prompt).encode(), add_bos=_begins_with_bos(renderer), special=True))


def _begins_with_bos(renderer: Any) -> bool:
    return not renderer.chat and renderer.tokenizer("a")["input_ids"][0] == renderer.tokenizer.bos_token_id


def _answer(llama: Any, backend: Any, ids: list[int]) -> str:
    """llama.cpp's greedy answer to the token ids of a prompt."""
    out: list[int] = []
    for token in llama.generate(ids, temp=0.0, repeat_penalty=1.0):
        if token == backend.renderer.end_id or len(out) == backend.max_new_tokens:
            break
        out.append(token)
    return str(backend.renderer.decode(out))


if __name__ == "__main__":
    sys.exit(main())
