"""Tokens a second and use of the device for LoRA on models of published shapes with random weights; nothing is fetched.

python benchmarks/throughput.py gemma2-2b [--device cuda] [--batch-tokens 4096,8192] [--packing shared,none] [--json]

A model of that shape is made, saved and prepared as `slm train` prepares one. Its examples are random tokens in the
proportions of Spider: many questions to a context. Prints a line for each size of pack, shared and padded: how fast it
trains, and what share of the device's measured peak its arithmetic is (mfu). Speed does not depend on the weights'
values. A size that does not fit the memory is a line that says so. On a GPU, what `slm plan` predicts for the same
packs stands beside the peak of its tensors (predicted_memory_mb; both without what CUDA itself takes).
"""

import argparse
import json
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from slm import provenance
from slm.errors import SlmError
from slm.files import write_json
from slm.models.load import quiet_transformers
from slm.recipe import Recipe, load_recipe
from slm.train.encode import Encoded
from slm.train.loss import summed_loss
from slm.train.meters import Meters
from slm.train.optimizer import build_optimizer
from slm.train.pack import Pack, Packing, plan_packs, to_tensors
from slm.train.plan.hardware import find_device
from slm.train.plan.memory import training_memory
from slm.train.plan.model import planned_config, planned_model
from slm.train.prepare import prepare_model

# The dimensions of the published config.json of each: microsoft/Phi-3-mini-4k-instruct, google/gemma-2-2b-it and
# google/gemma-3-1b-it; what is not written here is the default of its class in transformers.
SHAPES: dict[str, dict[str, Any]] = {
    "phi3-mini": {
        "model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 32,
        "num_attention_heads": 32, "num_key_value_heads": 32, "vocab_size": 32064, "sliding_window": 2047,
        "max_position_embeddings": 4096, "tie_word_embeddings": False, "pad_token_id": 32000,
    },
    "gemma2-2b": {
        "model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
        "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000,
        "sliding_window": 4096, "query_pre_attn_scalar": 256, "max_position_embeddings": 8192,
    },
    "gemma3-1b": {
        "model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26,
        "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256, "vocab_size": 262144,
        "sliding_window": 512, "query_pre_attn_scalar": 256, "max_position_embeddings": 32768,
    },
}  # fmt: skip
# The same architecture, small enough for a test.
_TINY = {
    "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 4, "vocab_size": 500, "pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2,
}  # fmt: skip
# Tokens of Spider's contexts, questions and targets, about; and how many questions to a context.
CONTEXT, QUESTION, TARGET, QUESTIONS = 420, 30, 40, 48
WARM_UP = 2


def make_model(shape: str, folder: Path, *, device: str, dtype: str, tiny: bool) -> None:
    """Write a random model of a shape to `folder`."""
    import transformers

    values = SHAPES[shape] | (_TINY if tiny else {})
    if tiny and "head_dim" in values:
        values |= {"head_dim": 16, "query_pre_attn_scalar": 16, "num_key_value_heads": 1}
    config = transformers.AutoConfig.for_model(values.pop("model_type"), **values)
    auto: Any = transformers.AutoModelForCausalLM
    with torch.device(device):
        model = auto.from_config(config, dtype=getattr(torch, dtype))
    with quiet_transformers():
        model.save_pretrained(folder)


def make_examples(tokens: int, vocabulary: int) -> list[Encoded]:
    """Random examples of which packs of at least `tokens` tokens can be made."""
    rng = random.Random(0)  # noqa: S311 - random tokens, not a secret

    def ids(count: int) -> tuple[int, ...]:
        return tuple(rng.randrange(3, vocabulary) for _ in range(max(1, round(count * rng.uniform(0.6, 1.4)))))

    examples: list[Encoded] = []
    made = 0
    while made < tokens:
        context = ids(CONTEXT)
        of_context = [Encoded(f"{len(examples)}-{n}", context, ids(QUESTION), ids(TARGET)) for n in range(QUESTIONS)]
        examples.extend(of_context)
        made += len(context) + sum(example.branch_tokens for example in of_context)
    return examples


def measure(model: Any, recipe: Recipe, packs: list[Pack], device: torch.device) -> dict[str, Any]:
    """Train a step a pack; the figures of the steps after the warm-up."""
    settings = recipe.train
    optimizer = build_optimizer(model, settings, recipe.lora)
    config = model.get_base_model().config
    dtype = getattr(torch, recipe.model.dtype)
    meters = Meters(model, device=device, dtype=dtype, processes=1)
    trainable = [value for value in model.parameters() if value.requires_grad]
    model.train()
    began = 0.0
    for number, pack in enumerate(packs):
        if number == WARM_UP:
            _wait(device)
            began = time.perf_counter()
        tensors = to_tensors(pack).to(device)
        loss = summed_loss(model, config, tensors, dtype=dtype) / pack.target_tokens
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trainable, settings.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
    _wait(device)
    seconds = time.perf_counter() - began
    timed = packs[WARM_UP:]
    found = meters.finish(timed, seconds)
    examples = sum(sum(1 for _ in pack.examples) for pack in timed)
    kept = ("target_tokens_per_s", "padded_tokens_per_s", "mfu", "peak_memory_mb")
    speed = {
        "steps": len(timed),
        "examples_per_s": round(examples / seconds, 2),
        "s_per_step": seconds / len(timed),
        "tokens_per_s": round(sum(pack.tokens for pack in timed) / seconds, 1),
    }
    return speed | {key: found[key] for key in kept}


def predicted(recipe: Recipe, packs: list[Pack]) -> dict[str, float]:
    """MB of tensors that a training of these packs takes on the GPU that is here, by `slm plan`."""
    device = find_device(None)
    model = planned_model(planned_config(recipe.model.name), recipe, on_gpu=True)
    memory = training_memory(model, recipe, [[pack] for pack in packs], device, processes=1, sharded=False)
    return {"predicted_memory_mb": round((memory.total - memory.process) / 1e6, 1)}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure_all(options: argparse.Namespace) -> list[dict[str, Any]]:
    """A record for each kind and size of pack."""
    device = torch.device(options.device)
    records = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / options.shape
        make_model(options.shape, folder, device=options.device, dtype=options.dtype, tiny=options.tiny)
        for packing in options.packing:
            fixed = [f"model.name={folder}", f"model.dtype={options.dtype}", f"train.packing={packing}"]
            recipe = load_recipe("smollm2-135m-spider", [*fixed, *options.overrides])
            model = prepare_model(folder, recipe, device=device).to(device)
            vocabulary = model.get_base_model().config.vocab_size
            for batch_tokens in options.batch_tokens:
                packs = _packs(batch_tokens, options.steps + WARM_UP, packing, vocabulary)
                print(f"{options.shape}, {packing}, packs of {batch_tokens} …", file=sys.stderr, flush=True)
                record = {"shape": options.shape, "packing": packing, "batch_tokens": batch_tokens}
                try:
                    if device.type == "cuda":
                        record |= predicted(recipe, packs)
                    records.append(record | measure(model, recipe, packs, device))
                except torch.OutOfMemoryError:
                    model.zero_grad()
                    records.append(record | {"error": "out of memory"})
            del model
            torch.cuda.empty_cache()  # nothing to do without a GPU
    return records


def _packs(batch_tokens: int, count: int, packing: Packing, vocabulary: int) -> list[Pack]:
    """`count` packs that fill the budget as well as the examples allow."""
    examples = make_examples(2 * count * batch_tokens, vocabulary)
    packs = plan_packs(examples, batch_tokens=batch_tokens, seed=0, epoch=0, packing=packing)
    return packs[:count]


def _options() -> argparse.Namespace:
    assert __doc__
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=list(SHAPES))
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="of a recipe, such as train.recompute=true")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--packing", default="shared,none", help="of shared and none (both)")
    parser.add_argument("--batch-tokens", default="4096,8192,16384", help="sizes of packs (4096,8192,16384)")
    parser.add_argument("--steps", type=int, default=10, help=f"timed steps of each (10), after {WARM_UP} others")
    parser.add_argument("--tiny", action="store_true", help="the same architecture in a few thousand parameters")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the report as JSON")
    parser.add_argument("--json", action="store_true", help="JSON, as it is when piped")
    options = parser.parse_args()
    options.packing = options.packing.split(",")
    options.batch_tokens = [int(size) for size in options.batch_tokens.split(",")]
    return options


def main() -> int:
    """Measure and print; returns the exit code."""
    options = _options()
    code = provenance.code_state()  # of now: the files may change while this runs
    try:
        records = measure_all(options)
    except SlmError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    device = torch.cuda.get_device_name() if options.device == "cuda" else "cpu"
    about = {"device": device, "dtype": options.dtype, "tiny": options.tiny, "overrides": options.overrides}
    report = about | {"records": records, "code": code, "versions": provenance.versions()}
    if options.out is not None:
        write_json(options.out, report)
    if options.json or not sys.stdout.isatty():
        print(json.dumps(report))
        return 0
    for record in records:
        print(
            "  ".join(
                f"{key} {value:,.4g}" if isinstance(value, float) else str(value) for key, value in record.items()
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
