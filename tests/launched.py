"""What tests start on one or several processes: tiny trainings that leave their gradients and weights behind.

`python tests/launched.py MODELS OUT '{"cases": [["llama", "lora", "float32", "none"]], "steps": 3}'`
"""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import FullyShardedDataParallelPlugin
from accelerate.utils import set_seed
from safetensors.torch import save_file
from torch.distributed.tensor import DTensor

from slm.errors import SlmError
from slm.models.load import load_model
from slm.models.lora import add_lora
from slm.models.packed_attention import use_packed_attention
from slm.recipe import LoraSection, TrainSection
from slm.train.encode import Encoded
from slm.train.loop import Loop, plan_steps
from slm.train.processes import make_accelerator


class StopAfter:
    """Meters that send SIGTERM to this process after a step."""

    def __init__(self, step: int) -> None:
        self.left = step

    def waiting(self) -> Any:
        return contextlib.nullcontext()

    def transferring(self) -> Any:
        return contextlib.nullcontext()

    def finish(self, *_: Any) -> dict[str, Any]:
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}


def examples() -> list[Encoded]:
    draw = torch.Generator().manual_seed(3)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, 200, (length,), generator=draw).tolist())

    contexts = [ids(20), ids(15)]
    return [Encoded(f"e{number}", contexts[number % 2], ids(6), ids(5)) for number in range(12)]


def main() -> None:
    models, out, options = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    accelerator = make_accelerator()
    for case in options["cases"]:
        if accelerator.distributed_type == "FSDP":  # it remembers the layers of the first model
            accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin()
        train(models, out / "-".join(case), case, options, accelerator)
        accelerator.free_memory()
    accelerator.end_training()


def train(models: Path, out: Path, case: list[str], options: dict[str, Any], accelerator: Any) -> None:
    family, method, dtype, quantize = case
    set_seed(0)
    base = load_model(models / family, dtype=dtype, quantize=quantize)
    use_packed_attention(base)
    lora = LoraSection(rank=4, dropout=options.get("dropout", 0.0))
    model = add_lora(base, lora) if method == "lora" else base.requires_grad_(True)
    # Three packs for two processes: one has a pack too few.
    settings = TrainSection(
        method=method, batch_tokens=60, packs_per_step=3, learning_rate=1e-2, checkpoint_every=50, epochs=3
    )
    stops = "stop_after" in options and accelerator.is_last_process
    loop = Loop(
        model,
        base.config,
        settings,
        checkpoints=out / "checkpoints",
        metrics=out / "metrics.jsonl",
        accelerator=accelerator,
        meters=StopAfter(options["stop_after"]) if stops else None,
    )
    steps = plan_steps(examples(), settings)[: options["steps"]]
    if options.get("gradients"):
        save_gradients(loop, steps[0], out, accelerator)
    loop.run(steps)
    weights = loop.trained_weights()
    if accelerator.is_main_process:
        save_file(weights, out / "weights.safetensors")
        (out / "kind").write_text(f"{accelerator.distributed_type.value} {accelerator.num_processes}")


def save_gradients(loop: Loop, packs: Any, out: Path, accelerator: Any) -> None:
    loop.model.train()
    loop._backward(packs, sum(pack.target_tokens for pack in packs))
    parameters = accelerator.unwrap_model(loop.model).named_parameters()
    gradients = {name: one.grad for name, one in parameters if one.grad is not None}
    whole = {name: one.full_tensor() if isinstance(one, DTensor) else one for name, one in gradients.items()}
    if accelerator.is_main_process:
        out.mkdir(parents=True)
        save_file({name: one.clone() for name, one in whole.items()}, out / "gradients.safetensors")
    loop.optimizer.zero_grad()


if __name__ == "__main__":
    try:
        main()
    except SlmError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
