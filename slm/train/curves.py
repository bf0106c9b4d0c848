"""Pictures of a run (loss, learning rate, gradient norm, tokens a second, held-out accuracy), and of several losses."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slm.pictures import ACCENT, LINE, write_picture
from slm.recipe import RunFolder
from slm.train.summary import read_metrics, read_watch, smoothed
from slm.train.watch import WatchRow


def draw_curves(run: RunFolder) -> bool:
    """Write curves.svg and curves.png into the run's folder; the same rows give the same bytes.

    False, and no picture, for a run without steps or without matplotlib.
    """
    rows, watched = read_metrics(run), read_watch(run)
    paths = [run.curves, run.curves.with_suffix(".png")]
    return bool(rows) and write_picture(paths, (10, 5.6), lambda figure: _draw(figure, run.path.name, rows, watched))


def draw_losses(runs: Sequence[RunFolder], names: Sequence[str], path: Path) -> bool:
    """Draw the losses of several runs over each other, smoothed, by `names`; `path` ends in .svg or .png.

    False, and no picture, where no run has steps or matplotlib is missing.
    """
    metrics = [(name, rows) for name, run in zip(names, runs, strict=True) if (rows := read_metrics(run))]

    def draw(figure: Any) -> None:
        panel = figure.add_subplot(title="loss per target token", xlabel="step")
        for name, rows in metrics:
            steps, losses = [row["step"] for row in rows], [row["loss"] for row in rows]
            (line,) = panel.plot(steps, smoothed(losses), label=name)
            panel.plot(steps, losses, color=line.get_color(), alpha=0.25, linewidth=0.8)
        panel.set_ylim(bottom=0)
        panel.legend()

    return bool(metrics) and write_picture([path], (8, 3.6), draw)


def _draw(figure: Any, title: str, rows: Sequence[dict[str, Any]], watched: Sequence[WatchRow]) -> None:
    figure.suptitle(title)
    grid = figure.add_gridspec(2, 6)
    steps = [row["step"] for row in rows]
    loss = figure.add_subplot(grid[0, :4], title="loss per target token")
    values = [row["loss"] for row in rows]
    loss.plot(steps, values, color=LINE, alpha=0.35, linewidth=0.8, label="each step")
    loss.plot(steps, smoothed(values), color=LINE, label="smoothed")
    if held_out := [(row.step, row.loss) for row in watched if row.loss is not None]:
        loss.plot(*zip(*held_out, strict=True), color=ACCENT, marker="o", markersize=3.5, label="held-out")
    loss.legend()
    panels = [("learning rate", "learning_rate"), ("gradient norm", "grad_norm"), ("tokens/s", "tokens_per_s")]
    accuracy = [(row.step, 100 * row.accuracy) for row in watched if row.accuracy is not None]
    below = [grid[1, :2], grid[1, 2:4], grid[1, 4:]] if accuracy else [grid[1, :3], grid[1, 3:]]
    for place, (title, key) in zip([grid[0, 4:], *below], panels, strict=False):
        have = [(row["step"], row[key]) for row in rows if row.get(key) is not None]
        panel = figure.add_subplot(place, title=title)
        if have:
            panel.plot(*zip(*have, strict=True), color=LINE)
        panel.set_ylim(bottom=0)
    if accuracy:
        panel = figure.add_subplot(below[2], title="held-out accuracy, %")
        panel.plot(*zip(*accuracy, strict=True), color=ACCENT, marker="o", markersize=3.5)
        panel.set_ylim(0, 100)
    for panel in figure.axes:
        panel.set_xlabel("step")
        panel.set_xlim(min(0, steps[0]), steps[-1] + 1)
