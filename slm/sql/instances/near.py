"""Values next to a value, and what LIKE matches."""

from datetime import date, datetime, timedelta

from slm.sql.results import Cell

_LETTERS, _LONGEST = "abcdefghij", 100  # characters of a made-up text


def text_neighbours(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A text that sorts just before one, and one that sorts just after it."""
    below = (text[:-1] + chr(ord(text[-1]) - 1) + "z",) if text and text[-1].isalpha() and text[-1] not in "Aa" else ()
    return below, (text + "a",)


def text_of_length(value: Cell) -> Cell:
    """A text of so many characters."""
    if not isinstance(value, (int, float)) or not 0 <= value <= _LONGEST:
        return value
    return (_LETTERS * int(value))[: int(value)]


def number_of(text: str) -> int | float | None:
    """The number that a text is."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def neighbours(value: Cell) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
    """Values just below and just above: of a number ± 1 and ± its last digit, of an ISO date the days around it.

    Of other text there are none.
    """
    if isinstance(value, int):
        return (value - 1,), (value + 1,)
    if isinstance(value, float):
        digits = len(repr(value).partition(".")[2]) if "e" not in repr(value) else 6
        step = round(0.1**digits, digits)
        return (round(value - step, digits), value - 1), (round(value + step, digits), value + 1)
    if isinstance(value, str) and (number := number_of(value)) is not None:
        below, above = neighbours(number)
        return tuple(map(str, below)), tuple(map(str, above))
    if isinstance(value, str) and len(value) >= 10 and (days := _days(value[:10])):
        return (days[0] + value[10:],), (days[1] + value[10:],)
    if isinstance(value, str) and (around := _months(value) or _minutes(value)):
        return (around[0],), (around[1],)
    return (), ()


def _months(text: str) -> tuple[str, str] | None:
    """The months around one such as 2023-05."""
    if len(text) != len("2023-05") or (days := _days(f"{text}-01")) is None:
        return None
    first = days[0][:7]
    after = _days(f"{text}-28")
    while after and after[1][:7] == text:
        after = _days(after[1])
    return (first, after[1][:7]) if after else None


def _minutes(text: str) -> tuple[str, str] | None:
    """The minutes around a time of day such as 12:00, or the seconds around one such as 12:00:30, within the day."""
    step = {len("12:00"): timedelta(minutes=1), len("12:00:30"): timedelta(seconds=1)}.get(len(text))
    try:
        moment = datetime.fromisoformat(f"2001-01-01 {text}")
    except ValueError:
        return None
    if step is None or text.count(":") * 3 + 2 != len(text):
        return None
    around = moment - step, moment + step
    if any(each.day != moment.day for each in around):
        return None
    return str(around[0].time())[: len(text)], str(around[1].time())[: len(text)]


def _days(text: str) -> tuple[str, str] | None:
    try:
        day = date.fromisoformat(text)
        return str(day - timedelta(1)), str(day + timedelta(1))
    except (ValueError, OverflowError):
        return None


def like_matches(pattern: str, text: str) -> bool:
    """SQL's LIKE, in any letter case, without ESCAPE."""
    pattern, text = pattern.lower(), text.lower()
    reach = {0}  # positions in `text` that the pattern so far may end at
    for sign in pattern:
        if sign == "%":
            reach = set(range(min(reach), len(text) + 1)) if reach else reach
        else:
            reach = {i + 1 for i in reach if i < len(text) and sign in ("_", text[i])}
    return len(text) in reach
