"""What hosted models cost: sheets in `configs/prices`, and for all others the maintained list of genai-prices."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import yaml
from pydantic import Field, ValidationError, model_validator

from slm.errors import InputError, RecipeError
from slm.paths import shipped
from slm.records import Record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from genai_prices.types import ModelInfo, ModelPrice, Provider, Tier, TieredPrices

MAX_AGE_DAYS = 90
Usd = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Rates(Record):
    """USD per million tokens. Where there is no price for cached input it costs as much as other input."""

    input_usd_per_mtok: Usd
    cached_input_usd_per_mtok: Usd | None
    output_usd_per_mtok: Usd

    @model_validator(mode="after")
    def _cached_is_cheaper(self) -> "Rates":
        if self.cached_input_usd_per_mtok is not None and self.cached_input_usd_per_mtok > self.input_usd_per_mtok:
            raise ValueError("cached input costs more than other input")
        return self


class Price(Record):
    """What a hosted model costs: at once, and as a batch (None: there is none). `date`: when `source` said so.

    Prompts longer than `prompt_limit_tokens` cost more than this.
    """

    model: Annotated[str, Field(min_length=1)]
    provider: Annotated[str, Field(min_length=1)]
    realtime: Rates
    batch: Rates | None
    prompt_limit_tokens: Annotated[int, Field(gt=0)] | None
    source: Annotated[str, Field(min_length=1)]
    date: date


class _Sheet(Record):
    prices: tuple[Price, ...]


def find_price(model: str, *, today: date, folders: Sequence[Path] = ()) -> Price:
    """The price of `model`: of the first of `folders` that has it, then of the shipped sheets, then of genai-prices.

    `today` decides between prices that genai-prices dates. Raises InputError for a model that nobody has a price of,
    with the nearest names; RecipeError for a sheet that is wrong.
    """
    sheets = [price for folder in (*folders, shipped("configs", "prices")) for price in read_prices(folder)]
    for price in sheets:
        if price.model == model:
            return price
    return _of_list(model, today, known=[price.model for price in sheets])


def read_prices(folder: Path) -> list[Price]:
    """Every price of a folder's `*.yaml`. Raises RecipeError that names every mistake, with its file and entry."""
    files = sorted(folder.glob("*.yaml"))
    if not files:
        raise RecipeError("no sheet of prices here", where=str(folder), expected="files *.yaml, as in configs/prices")
    prices = [(file, price) for file in files for price in _read(file)]
    first: dict[str, Path] = {}
    for file, price in prices:
        if price.model in first:
            raise RecipeError(f"{price.model} has a price in {first[price.model]} already", where=str(file))
        first[price.model] = file
    return [price for _, price in prices]


def age_warning(what: str, when: date, today: date) -> str | None:
    """What to say of a price that is older than 90 days, else None. `what` names it, `when` is the price's date."""
    days = (today - when).days
    if days <= MAX_AGE_DAYS:
        return None
    return f"the price of {what} is of {when}, {days} days ago: look whether it still holds"


def _read(file: Path) -> tuple[Price, ...]:
    expected = "entries as in configs/prices/hosted.yaml"
    try:
        raw = yaml.safe_load(file.read_text(encoding="utf-8"))
        return _Sheet.model_validate(raw).prices
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise RecipeError(f"the sheet of prices cannot be read: {error}", where=str(file)) from None
    except ValidationError as error:
        lines = [f"{_place(raw, problem['loc'])}: {problem['msg']}" for problem in error.errors()]
        raise RecipeError(
            "\n  ".join(["not a valid sheet of prices", *lines]), where=str(file), expected=expected
        ) from None


def _place(raw: object, place: tuple[int | str, ...]) -> str:
    """`prices.1 (gpt-4).date`: the path to a mistake, with the entry's model where it says one."""
    names = [str(part) for part in place]
    if len(place) > 1 and isinstance(raw, dict) and isinstance(place[1], int):
        entry = raw["prices"][place[1]]
        if isinstance(entry, dict) and entry.get("model"):
            names[1] += f" ({entry['model']})"
    return ".".join(names)


def _of_list(model: str, today: date, *, known: Sequence[str]) -> Price:
    """From genai-prices, whose data are part of the package: nothing is fetched."""
    try:
        from genai_prices.data_snapshot import get_snapshot
    except ImportError:
        raise InputError(
            "no sheet has a price of this model, and genai-prices is not installed",
            where=model,
            hint="pip install 'slm[bench]', or state the price: --price MODEL=INPUT,OUTPUT",
        ) from None
    snapshot = get_snapshot()
    try:
        provider, found = snapshot.find_provider_model(model, None, None, None)
    except LookupError:
        # A name with a slash is that of a model at a reseller, which the lookup does not know without its provider.
        listed = (each.id for provider in snapshot.providers for each in provider.models if "/" not in each.id)
        near = get_close_matches(model, sorted({*known, *listed}), n=3)
        raise InputError(
            "no price of this model" + (f"; did you mean {' or '.join(near)}?" if near else ""),
            where=model,
            expected="a model of configs/prices or of genai-prices",
            hint="state the price: --price MODEL=INPUT,OUTPUT",
        ) from None
    return _from_entry(model, provider, found, today, kept_until=_kept_until(snapshot.providers, today))


def _from_entry(model: str, provider: "Provider", entry: "ModelInfo", today: date, *, kept_until: date) -> Price:
    moment, page = datetime.combine(today, time(), UTC), (provider.pricing_urls or [provider.name])[0]
    realtime = entry.get_prices(moment)
    batch = entry.get_prices(moment, {"processing": "batch"})
    # Without a batch price the list answers with the ordinary one.
    has_batch = any(variant.when.get("processing") == "batch" for variant in entry.price_variants or ())
    starts = [tier.start for tier in _tiers(realtime)]
    return Price(
        model=model,
        provider=provider.id,
        realtime=_rates(model, realtime),
        batch=_rates(model, batch) if has_batch and batch != realtime else None,
        prompt_limit_tokens=min(starts, default=None),
        source=f"genai-prices {version('genai-prices')} ({entry.id}), from {page}",
        date=kept_until,
    )


def _rates(model: str, price: "ModelPrice") -> Rates:
    # The package makes these attributes up from a registry of units, so that type checkers do not know them.
    given, cached, output = price.input_mtok, price.cache_read_mtok, price.output_mtok
    if given is None or output is None:
        raise InputError(
            "genai-prices has no price of its text tokens", where=model, expected="a model that writes text"
        )
    try:
        return Rates(
            input_usd_per_mtok=_base(given),
            cached_input_usd_per_mtok=None if cached is None else _base(cached),
            output_usd_per_mtok=_base(output),
        )
    except ValidationError as error:
        problem = f"genai-prices has a price of it that cannot be: {error.errors()[0]['msg']}"
        raise InputError(problem, where=model, hint="state the price: --price MODEL=INPUT,OUTPUT") from None


def _base(price: "Decimal | TieredPrices") -> float:
    """The price of prompts that are not long."""
    from genai_prices.types import TieredPrices

    return float(price.base if isinstance(price, TieredPrices) else price)


def _tiers(price: "ModelPrice") -> "Iterator[Tier]":
    for each in (price.input_mtok, price.cache_read_mtok, price.output_mtok):
        yield from getattr(each, "tiers", ())


def _kept_until(providers: "Sequence[Provider]", today: date) -> date:
    """The newest date from which a price of the list holds by `today`: up to then, at least, the list was kept.

    The package does not say when its prices were read.
    """
    return max(
        (
            dated.constraint.start_date
            for provider in providers
            for entry in provider.models
            for dated in (*(entry.prices if isinstance(entry.prices, list) else ()), *(entry.price_variants or ()))
            if hasattr(dated.constraint, "start_date") and dated.constraint.start_date <= today
        ),
        default=date.min,
    )
