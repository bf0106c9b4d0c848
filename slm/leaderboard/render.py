"""Results as a Markdown page. The same results always give the same bytes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby

from slm.records import Cost, Load, Rate, Result

_UNKNOWN = "–"
_HASH = 8  # characters of a hash that are shown
Show = Callable[[Result], str]
_TAG_ORDER = ("seen", "unseen", "easy", "medium", "hard", "extra")

_HEAD = """\
# Leaderboard

Made by `slm leaderboard` from the files in `eval/results`; do not edit. `--check` fails when it is stale.

Rows of one table answered exactly the same questions on the same databases.

- **rank**: one more than there are rows whose whole interval lies above this row's, so that luck alone parts no ranks.
- **accuracy**: share of judged answers whose execution gives the gold's result, with its 95 % Wilson score interval.
- **right / judged**: a question without a database, or whose gold fails, is not judged.
- **undetermined**: both results were empty; not counted as right. **instances**: right answers were right on so many
  further databases too; **shipped data alone**: the accuracy without them. **BIRD**, **test suite**: what these public
  scripts would call right ([docs/judging.md](docs/judging.md)).
- **seen**, **unseen**, **easy**, …: accuracy on the questions with that tag.
- **tokens**: mean tokens of a prompt + of an answer. **seconds**: mean wall time of an answer on that run's machine;
  only rows of one machine compare.
- **run**: leads to the result's file.
- **form**: what `slm export` made of the tuned model, with its **MB on disk**. **cold start**: from the start of a
  process to its first answer, on the CPU of that run's machine.
- **server**, **load**: what computed the answers, and how it was asked (`slm bench`). **p50 / p95**: time from when a
  request was due to the end of its answer. **answers/s**: while the load was steady. **$ / 1,000 right**: as `slm cost`
  reckons it, with 95 % bounds, and what is paid for.
- **code**: commit, with `+` where files differed from it. **data**, **model**, **adapter**: the first characters of the
  sha256 of questions and databases, of the model's files, of the trained adapter.
- `–`: unknown.
"""


def render_leaderboard(results: Sequence[Result], links: Sequence[str] = ()) -> str:
    """One section for each set of questions (suite and fingerprint), its best row first.

    `links`: where the file of each result is, if they are known.
    """

    def questions(result: Result) -> tuple[str, str]:
        return result.suite, result.questions_fingerprint

    where = {id(result): link for result, link in zip(results, links, strict=False)}
    groups = groupby(sorted(results, key=questions), key=questions)
    sections = [_section(list(group), where) for _, group in groups]
    return "\n".join([_HEAD, *(sections or ["No results yet.\n"])])


def _section(results: list[Result], links: Mapping[int, str]) -> str:
    first = results[0]
    tags = tag_columns(results)
    judged = {name: show for name, show in _JUDGED.items() if any(show(result) != _UNKNOWN for result in results)}
    forms = {name: show for name, show in _FORMS.items() if any(show(result) != _UNKNOWN for result in results)}
    head = [
        "rank",
        "model",
        "tuned",
        "size",
        "accuracy",
        "right / judged",
        *judged,
        *tags,
        "tokens",
        "seconds",
        *forms,
        "run",
    ]
    head += ["code", "data", "model", "adapter"]
    rows = [
        [_rank(result, results), *_row(result, judged.values(), tags.values(), forms.values(), links.get(id(result)))]
        for result in sorted(results, key=_best_first)
    ]
    questions = f"{first.examples} question{'' if first.examples == 1 else 's'}"
    notes = ["", _NOT_CERTIFIED] if any(map(_uncertified, results)) else []
    return "\n".join(
        [f"## {first.suite}: {questions}", "", _line(head), "|---" * len(head) + "|", *map(_line, rows), *notes, ""]
    )


def tag_columns(results: Iterable[Result]) -> dict[str, tuple[str, str]]:
    """Column name to (tag, value): the value alone where that is clear, in the order that people expect."""
    tags = sorted({(tag, value) for result in results for tag, values in result.by_tag.items() for value in values})
    tags.sort(key=lambda pair: _TAG_ORDER.index(pair[1]) if pair[1] in _TAG_ORDER else len(_TAG_ORDER))
    values = [value for _, value in tags]
    return {(value if values.count(value) == 1 else f"{tag}: {value}"): (tag, value) for tag, value in tags}


def _best_first(result: Result) -> tuple[float, str, str]:
    value = result.accuracy.value
    return (1.0 if value is None else -value, result.model, result.run)


def _rank(result: Result, results: Iterable[Result]) -> str:
    """One more than there are rows whose whole interval lies above this one's."""
    high = result.accuracy.high
    if high is None:
        return _UNKNOWN
    return str(1 + sum(other.accuracy.low is not None and other.accuracy.low > high for other in results))


def _row(
    result: Result,
    judged: Iterable[Show],
    tags: Iterable[tuple[str, str]],
    forms: Iterable[Show],
    link: str | None,
) -> list[str]:
    rate, card = result.accuracy, result.card
    return [
        result.model,
        {True: "tuned", False: "untuned", None: _UNKNOWN}[result.tuned]
        + (", constrained" * result.constrained)
        + (f", up to {result.candidates} candidates" if result.candidates > 1 else ""),
        _size(result.parameters),
        _with_interval(rate),
        f"{rate.right} / {rate.total}",
        *(show(result) for show in judged),
        *(_percent(result.by_tag.get(tag, {}).get(value)) for tag, value in tags),
        _tokens(result),
        _number(result.seconds_per_question, digits=2),
        *(show(result) for show in forms),
        f"[{result.run}]({link})" if link else result.run,
        _commit(card.get("code")),
        *(_hash(card.get(key)) for key in ("data", "model", "adapter")),
    ]


_NOT_CERTIFIED = """\
(not certified): without a valid certificate that this form answers as the run does; `slm parity` makes one
([docs/parity.md](docs/parity.md))."""


def _uncertified(result: Result) -> bool:
    """Whether it is of an exported form that no certificate (`parity` in its card: the verdict) vouches for."""
    return result.form is not None and result.card.get("parity") not in ("same", "equivalent")


# Columns that a table has if any of its rows has something to show there.
_JUDGED: dict[str, Show] = {
    "undetermined": lambda result: str(result.undetermined) if result.readings else _UNKNOWN,
    "instances": lambda result: str(result.instances or _UNKNOWN),
    "shipped data alone": lambda result: _percent(result.accuracy_shipped),
    "BIRD": lambda result: _percent(result.readings.get("bird")),
    "test suite": lambda result: _percent(result.readings.get("test_suite")),
}
_FORMS: dict[str, Show] = {
    "form": lambda result: f"{result.form or _UNKNOWN}{' (not certified)' if _uncertified(result) else ''}",
    "MB on disk": lambda result: _UNKNOWN if result.size_bytes is None else f"{result.size_bytes / 1e6:.0f}",
    "cold start": lambda result: _UNKNOWN if result.cold_start_s is None else f"{result.cold_start_s:.1f} s",
    "server": lambda result: _UNKNOWN if result.load is None else result.load.server,
    "load": lambda result: _UNKNOWN if result.load is None else f"{result.load.load}, {result.load.cache} cache",
    "p50 / p95": lambda result: _latency(result.load),
    "answers/s": lambda result: _number(result.load.answers_per_s if result.load else None, digits=2),
    "$ / 1,000 right": lambda result: _cost(result.cost),
}


def _latency(load: Load | None) -> str:
    if load is None or load.p50_s is None or load.p95_s is None:
        return _UNKNOWN
    return f"{load.p50_s:.2f} s / {load.p95_s:.2f} s"


def _cost(cost: Cost | None) -> str:
    if cost is None:
        return _UNKNOWN
    bounds = "" if cost.low is None or cost.high is None else f" ({cost.low:,.3g} to {cost.high:,.3g})"
    return f"{cost.usd_per_1000_correct:,.3g}{bounds}, {cost.paid}"


def _line(cells: Iterable[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |"


def _with_interval(rate: Rate) -> str:
    if rate.value is None or rate.low is None or rate.high is None:
        return _UNKNOWN
    return f"**{rate.value:.1%}** ({rate.low:.1%} to {rate.high:.1%})"


def _percent(rate: Rate | None) -> str:
    return _UNKNOWN if rate is None or rate.value is None else f"{rate.value:.1%}"


def _tokens(result: Result) -> str:
    counts = (result.prompt_tokens_per_question, result.completion_tokens_per_question)
    return _UNKNOWN if counts == (None, None) else " + ".join(map(_number, counts))


def _number(value: float | None, digits: int = 0) -> str:
    return _UNKNOWN if value is None else f"{value:.{digits}f}"


def _size(parameters: int | None) -> str:
    if parameters is None:
        return _UNKNOWN
    return f"{parameters / 1e6:.0f}M" if parameters < 999_500_000 else f"{parameters / 1e9:.1f}B"


def _hash(value: object) -> str:
    return f"`{value[:_HASH]}`" if isinstance(value, str) else _UNKNOWN


def _commit(code: object) -> str:
    if not isinstance(code, dict) or not isinstance(code.get("commit"), str):
        return _UNKNOWN
    return f"`{code['commit'][:_HASH]}{'+' if code.get('diff') else ''}`"
