"""Pictures that can be read on white and on black; the same figures give the same bytes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from slm.files import atomic_path

# Mid tones on no background.
TEXT, LINE, ACCENT = "#7a7a7a", "#3987e5", "#d9730d"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "slm",  # ids inside the file, otherwise random
    "font.size": 9,
    "axes.edgecolor": TEXT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "text.color": TEXT,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": TEXT,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
}


def write_picture(paths: Sequence[Path], size: tuple[float, float], draw: Callable[[Any], None]) -> bool:
    """Write a figure of `size` inches to every path, in the format of its suffix; False without matplotlib."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        return False
    with matplotlib.rc_context(_STYLE):  # type: ignore[arg-type]  # a plain dict with keys that it knows
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        for path in paths:
            # Without the date and the version of the library.
            metadata = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
            with atomic_path(path) as temporary:
                figure.savefig(temporary, format=path.suffix[1:], transparent=True, dpi=110, metadata=metadata)
    return True
