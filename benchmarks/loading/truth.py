"""How far a client's times are from when the reference server really wrote."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def read_log(path: Path) -> dict[int, Row]:
    """The server's lines by number."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return {row["number"]: row for row in rows}


def ours(load_file: Path, log: dict[int, Row]) -> Row:
    """Errors of `slm bench`, of every piece of text."""
    lines = [json.loads(line) for line in load_file.read_text().splitlines()]
    clocks = {line["number"]: line["clock_ns"] for line in lines if line["kind"] == "phase"}
    first, pieces, gaps, ttft, longest, streamed = [], [], [], [], 0.0, 0
    for line in lines:
        if line["kind"] != "request" or line["error"] or "#" not in line["text"]:
            continue
        row = log[int(line["text"].rsplit("#", 1)[1])]
        written, at = row["written_ns"], clocks[line["phase"]] + line["sent_s"] * 1e9
        ttft.append((line["chunks_us"][0] - (written[0] - row["received_ns"]) / 1e3) / 1e3)
        for index, gap_us in enumerate(line["chunks_us"]):
            at += gap_us * 1e3
            pieces.append((at - written[index]) / 1e6)
            if index:
                gaps.append(gap_us / 1e3 - (written[index] - written[index - 1]) / 1e6)
                longest = max(longest, gap_us / 1e3)
        first.append(pieces[-len(written)])
        streamed += len(written)
    return _errors(first, ttft, gaps) | {
        "every_piece_ms": quantiles(pieces),
        "longest_gap_ms": longest,
        "tokens": streamed,
    }


def guidellms(report: Path, log: dict[int, Row]) -> Row:
    """Errors of guidellm; of the time between tokens it keeps the mean of a request alone."""
    (benchmark,) = json.loads(report.read_text())["benchmarks"]
    first, ttft, gaps, streamed = [], [], [], 0
    for request in benchmark["requests"]["successful"]:
        row, timings = log[int(request["response_id"].rsplit("-", 1)[1])], request["info"]["timings"]
        written = row["written_ns"]
        first.append((timings["first_token_iteration"] * 1e9 - row["epoch_ns"] - written[0]) / 1e6)
        ttft.append(request["time_to_first_token_ms"] - (written[0] - row["received_ns"]) / 1e6)
        gaps.append(request["inter_token_latency_ms"] - (written[-1] - written[0]) / (len(written) - 1) / 1e6)
        streamed += len(written)
    return _errors(first, ttft, gaps) | {"tokens": streamed}


def longest_gap_ms(log: Iterable[Row]) -> float:
    """The longest silence within an answer, as it was."""
    gaps = [later - at for row in log for at, later in zip(row["written_ns"], row["written_ns"][1:], strict=False)]
    return max(gaps, default=0) / 1e6


def quantiles(values: Sequence[float]) -> dict[str, float] | None:
    """p50 and p99 of the absolute values."""
    ordered = sorted(map(abs, values))
    if not ordered:
        return None
    return {name: round(ordered[int(share * (len(ordered) - 1))], 4) for name, share in (("p50", 0.5), ("p99", 0.99))}


def _errors(first: list[float], ttft: list[float], gaps: list[float]) -> Row:
    return {
        "first_token_ms": quantiles(first),
        "ttft_ms": quantiles(ttft),
        "between_tokens_ms": quantiles(gaps),
        "answers": len(first),
    }
