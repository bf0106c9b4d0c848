"""Which dates and times of day a query's literals stand for, as a column writes them: '2023', '2023-05', 5, '12:00'."""

from collections.abc import Iterator
from datetime import date, datetime, time

from slm.sql.instances.domains import Domain
from slm.sql.instances.near import like_matches, neighbours
from slm.sql.results import Cell

MOMENTS = ("date", "datetime", "time")
_SHIFTED = 6  # dates that are put into other years
_WHOLE = ("2001-02-03 04:05:06", "2010-06-15 12:30:00", "2024-11-28 20:45:10")


def moments(value: Cell, domain: Domain) -> list[str]:
    """Values of the column that a literal stands for: itself, or some of the year, month, day or hour that it names."""
    if not isinstance(value, (int, str)):
        return []
    text = str(value)
    if _is_moment(text, domain):
        return [text]
    if domain.kind == "time":
        return [moment for moment in _times(text, domain) if _is_moment(moment, domain)]
    days = [day for day in _days(text, domain) if _is_date(day)]
    if domain.kind == "date":
        return days
    found = [f"{day} {at}" for day in days for at in ("00:00:00", "23:59:59")]
    known = str(domain.samples[0])[:10] if domain.samples else "2001-02-03"
    found += [f"{known} {at}" for at in _times(text, domain)]
    return [moment for moment in found if _is_moment(moment, domain)]


def moments_like(pattern: str, domain: Domain) -> tuple[list[str], list[str]]:
    """Values of the column that a LIKE pattern matches, and some that it just misses."""
    fixed = pattern.strip("%")
    core = fixed.strip("-: _")
    below, above = neighbours(core)
    found = [moment for value in (core, *below, *above) for moment in moments(value, domain)]
    if fixed and "%" not in fixed and "_" not in fixed:
        found += _filled(fixed, domain, at_end=pattern.startswith("%"))
    found = list(dict.fromkeys(found))
    return [m for m in found if like_matches(pattern, m)], [m for m in found if not like_matches(pattern, m)]


def in_other_years(domain: Domain) -> list[str]:
    """Some of a column's dates in the year before and the year after: a month is not of one year alone."""
    if domain.kind == "time":
        return []
    days = [str(value) for value in domain.samples[:_SHIFTED]]
    found = [f"{int(day[:4]) + step:04}{day[4:]}" for day in days for step in (-1, 1)]
    return [day for day in found if _is_moment(day, domain)]


def _filled(fixed: str, domain: Domain, *, at_end: bool) -> Iterator[str]:
    """Values that begin or end with a text."""
    for whole in _WHOLE:
        text = whole[11 : 11 + _width(domain)] if domain.kind == "time" else whole[: _width(domain)]
        if len(fixed) <= len(text):
            filled = text[: len(text) - len(fixed)] + fixed if at_end else fixed + text[len(fixed) :]
            if _is_moment(filled, domain):
                yield filled


def _width(domain: Domain) -> int:
    """Characters of a value."""
    if domain.kind == "time":
        return len(str(domain.samples[0])) if domain.samples else len("12:00")
    return len("2001-02-03") if domain.kind == "date" else len(_WHOLE[0])


def _is_moment(text: str, domain: Domain) -> bool:
    """Whether it is a date, a time of a date or a time of day, as the column writes them."""
    if len(text) != _width(domain):
        return False
    try:
        if domain.kind == "time":
            return time.fromisoformat(text).isoformat().startswith(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False
    return text == (moment.date().isoformat() if domain.kind == "date" else moment.isoformat(" ", "seconds"))


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _times(text: str, domain: Domain) -> list[str]:
    """Of an hour its first and last moment; of a time of day the same as the column writes it."""
    seconds = (":00", ":59") if _width(domain) > len("12:00") else ("",)
    if text.isascii() and text.isdigit():
        return [f"{int(text):02}:00{seconds[0]}", f"{int(text):02}:59{seconds[-1]}"]
    if len(text) == len("12:00:30") and seconds[0]:
        return [text]
    return [text[: len("12:00")] + second for second in seconds]


def _days(text: str, domain: Domain) -> list[str]:
    """Days of a year, of a month of a year, of a month or with that number in any year, or the day of a moment."""
    if len(text) == len("2001-02") and text[4] == "-":
        return [f"{text}-{day}" for day in ("01", "28", "29", "30", "31")]
    if not (text.isascii() and text.isdigit()):
        return [text[:10]]
    number = int(text)
    if 1000 <= number <= 2999 and len(text) == 4:
        return [f"{text}-01-01", f"{text}-07-15", f"{text}-12-31"]
    if 1 <= number <= 12:
        return [f"{year}-{number:02}-{day:02}" for year in _years(domain) for day in (15, number)]
    return [f"{year}-07-{number:02}" for year in _years(domain)]


def _years(domain: Domain) -> list[int]:
    """Years of the column's values and the two around them."""
    known = sorted({int(str(value)[:4]) for value in domain.samples} or {2001, 2002})
    return list(dict.fromkeys((known[0] - 1, known[0], known[-1], known[-1] + 1)))
