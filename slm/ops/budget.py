"""`slm export --budget`: the form that answers best among those that fit on the disk, found by measuring."""

from collections.abc import Callable, Sequence
from pathlib import Path

from slm.evaluate import Difference, accuracy, paired_difference
from slm.files import write_json
from slm.models.forms import FormSpec, read_form
from slm.ops.export import export
from slm.progress import Meter
from slm.recipe import RunFolder
from slm.records import Rate, Record, Verdict

# From the best that can be expected to the smallest.
CANDIDATES = (
    FormSpec(kind="merged"),
    FormSpec(kind="gguf", quant="q8_0"),
    FormSpec(kind="int8"),
    FormSpec(kind="gguf", quant="q5_1"),
    FormSpec(kind="gguf", quant="q5_0"),
    FormSpec(kind="gguf", quant="q4_1"),
    FormSpec(kind="nf4"),
    FormSpec(kind="gguf", quant="q4_0"),
)
TABLE = "budget.json"
# The verdicts on a form's answers to the sample, in the sample's order.
Measure = Callable[[Path], Sequence[Verdict]]


class Row(Record):
    """One form: its size, and if it fits, how it answers the sample and how that differs from the run itself."""

    form: str
    size_bytes: int
    fits: bool
    accuracy: Rate | None = None
    difference: Difference | None = None


class Choice(Record):
    """`budget.json`: what was tried, on which questions, and which form was chosen; None if nothing fits.

    `reference` is the accuracy of the run as it was trained, on the same questions.
    """

    budget_bytes: int
    sample: str
    reference: Rate
    rows: tuple[Row, ...]
    chosen: str | None


def choose_form(
    run: RunFolder,
    budget: int,
    measure: Measure,
    reference: Sequence[Verdict],
    *,
    sample: str,
    trim: bool = False,
    out: Path | None = None,
) -> tuple[Choice, Path | None]:
    """Try every form, with `trim` also with a smaller vocabulary, and take the best of at most `budget` bytes.

    The best has the most right answers, and of several such forms the smallest file. Forms that do not fit are not
    measured. `reference` are the verdicts on the run as it was trained. Forms stay in `exports/` of the run, so that
    the same call continues where it was stopped; `out` gets a copy of the chosen one. The table is written there, too.
    Returns the table and the folder of the chosen form, None if nothing fits.
    """
    specs = [
        spec.model_copy(update={"trimmed": trimmed}) for trimmed in (False, True)[: 1 + trim] for spec in CANDIDATES
    ]
    rows, folders = [], {}
    with Meter("try forms", len(specs), unit="forms") as meter:
        for spec in specs:
            folder = export(run, spec)
            size = read_form(folder).size_bytes
            row = Row(form=spec.name, size_bytes=size, fits=size <= budget)
            if row.fits:
                verdicts = measure(folder)
                found = {"accuracy": accuracy(verdicts), "difference": paired_difference(reference, verdicts)}
                row = row.model_copy(update=found)
            rows.append(row)
            folders[spec.name] = folder
            meter.advance(note=f"{spec.name}: {size / 1e6:.0f} MB{_shown(row)}")
    chosen = best_row(rows)
    choice = Choice(
        budget_bytes=budget,
        sample=sample,
        reference=accuracy(reference),
        rows=tuple(rows),
        chosen=chosen.form if chosen else None,
    )
    write_json(run.path / "exports" / TABLE, choice)
    if chosen is None:
        return choice, None
    folder = folders[chosen.form] if out is None else export(run, read_form(folders[chosen.form]).spec, out=out)
    write_json(folder / TABLE, choice)
    return choice, folder


def best_row(rows: Sequence[Row]) -> Row | None:
    """The form with the most right answers among those that fit, and of several the smallest; None if none fits."""
    fitting = [row for row in rows if row.accuracy is not None]
    return min(fitting, key=lambda row: (-row.accuracy.right if row.accuracy else 0, row.size_bytes), default=None)


def _shown(row: Row) -> str:
    if row.accuracy is None or row.accuracy.value is None:
        return ", too big" if not row.fits else ""
    return f", {row.accuracy.value:.1%} right"
