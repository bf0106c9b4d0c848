"""From what the workers wrote to figures: speed, memory, and how far the systems agree with ours."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from safetensors.torch import load_file

from training.record import read_rows

# Steps before the clock starts: the first one allocates, and on a GPU chooses kernels.
WARM_UP = 1


def figures(folder: Path, system: str, about: str) -> dict[str, Any]:
    """One run of a system: speed over the steps after the warm-up, memory of the whole process.

    `tokens_per_s` counts every example's own tokens, as if nothing were shared or padded, and so compares like with
    like; `computed_tokens_per_s` counts what went through the model, shared once and with padding.
    """
    rows = read_rows(folder, system)
    timed = rows[WARM_UP:]
    seconds: float = sum(row["seconds"] for row in timed)

    def rate(key: str) -> float:
        return round(float(sum(row[key] for row in timed)) / seconds, 3)

    summary = json.loads((folder / f"{system}.json").read_text())
    return {
        "system": system,
        "about": about,
        "seconds": round(seconds, 3),
        "s_per_example": round(seconds / sum(row["examples"] for row in timed), 4),
        "examples_per_s": rate("examples"),
        "target_tokens_per_s": rate("target_tokens"),
        "tokens_per_s": rate("tokens"),
        "computed_tokens_per_s": rate("computed_tokens"),
        "peak_mb": summary["peak_mb"],
        "loaded_mb": summary["loaded_mb"],
        "threads": summary["threads"],
        "first_loss": rows[0]["loss"],
        "last_loss": rows[-1]["loss"],
    }


def agreement(folder: Path, system: str) -> dict[str, float]:
    """How far a system is from ours.

    `gradient_difference`: |g - g_ours| / |g_ours| of the adapter's gradient in step 1, all of it as one vector. Only B
    has one then: it starts at zero, so A's is zero in every system. `loss_difference`: the largest
    |loss - loss_ours| / |loss_ours| of a step.
    """
    ours, other = (load_file(folder / f"{name}.safetensors") for name in ("ours", system))
    assert ours.keys() == other.keys(), "the systems have gradients of different parameters"
    difference = distance(other, ours)
    losses = zip(read_rows(folder, "ours"), read_rows(folder, system), strict=True)
    largest = max(abs(b["loss"] - a["loss"]) / abs(a["loss"]) for a, b in losses)
    return {"gradient_difference": difference, "loss_difference": largest}


def distance(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> float:
    """|one - other| / |other|, each all of its tensors as one vector."""
    return _norm([one[name] - value for name, value in other.items()]) / _norm(list(other.values()))


def _norm(tensors: Sequence[torch.Tensor]) -> float:
    return float(torch.stack([tensor.double().square().sum() for tensor in tensors]).sum().sqrt())


def compared(records: Mapping[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The records, each with ours beside it: how many times as fast ours is, and its share of the peak memory."""
    ours = records.get("ours")
    if ours is None:
        return list(records.values())
    return [
        record
        | {
            "ours_is_faster": round(ours["examples_per_s"] / record["examples_per_s"], 2),
            "ours_memory_share": round(ours["peak_mb"] / record["peak_mb"], 3),
        }
        for record in records.values()
    ]


def show(report: dict[str, Any]) -> None:
    """The report as a table."""
    columns = {
        "system": "",
        "s/ex.": "s_per_example",
        "ex./s": "examples_per_s",
        "target tok/s": "target_tokens_per_s",
        "tok/s": "tokens_per_s",
        "peak MB": "peak_mb",
        "ours ×": "ours_is_faster",
        "memory": "ours_memory_share",
        "Δ grad.": "gradient_difference",
        "Δ loss": "loss_difference",
    }
    what = f"{report['model']}, {report['dtype']}, {report['device']}"
    title = f"{what}: {report['examples']} examples in {report['steps']} steps"
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title=title)
    table.columns[0].no_wrap = True  # a narrow terminal wraps the heads instead
    for column in table.columns[1:]:
        column.justify = "right"
    for record in report["systems"]:
        table.add_row(record["system"], *[_cell(key, record.get(key)) for key in list(columns.values())[1:]])
    console = Console()
    console.print(table)
    console.print(f"model and adapter alone: {report['model_only_mb']:,.0f} MB")
    for record in report["systems"]:
        console.print(f"{record['system']}: {record['about']}")
    for name, reason in report["left_out"].items():
        console.print(f"left out: {name}: {reason}")


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    if key.endswith("_difference"):
        return f"{value:.0e}"
    return f"{value:,.0f}" if key.endswith("_mb") or "tokens" in key else f"{value:,.3g}"
