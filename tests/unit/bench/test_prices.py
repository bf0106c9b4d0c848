"""Prices come from the sheets and then from genai-prices; what is wrong with a sheet is said with its place."""

import sys
from datetime import date, timedelta
from decimal import Decimal
from importlib.metadata import version

import pytest
from genai_prices.types import ModelPrice

from slm.bench import age_warning, find_price, read_prices
from slm.bench.prices import _rates
from slm.errors import InputError, RecipeError
from slm.paths import shipped

TODAY = date(2026, 11, 26)
SHEET = """
prices:
  - model: mine
    provider: me
    realtime: {input_usd_per_mtok: 3, cached_input_usd_per_mtok: 1, output_usd_per_mtok: 4}
    batch: null
    prompt_limit_tokens: null
    source: https://example.com/prices
    date: 2026-11-01
"""


def test_every_shipped_price_has_its_source_and_date():
    prices = {price.model: price for price in read_prices(shipped("configs", "prices"))}
    assert {price.provider for price in prices.values()} == {"openai", "anthropic", "google"}
    assert all(price.source.startswith("https://") and price.date <= date.today() for price in prices.values())
    assert prices["gpt-4"].date < date(2023, 8, 29), "the price at the time of DAIL-SQL's answers"


@pytest.mark.parametrize("model", [price.model for price in read_prices(shipped("configs", "prices"))])
def test_the_shipped_sheet_and_the_maintained_list_agree(model, monkeypatch):
    ours = find_price(model, today=TODAY)
    monkeypatch.setattr("slm.bench.prices.read_prices", lambda folder: [])
    theirs = find_price(model, today=TODAY)
    assert ours.realtime == theirs.realtime
    assert ours.prompt_limit_tokens == theirs.prompt_limit_tokens
    assert ours.provider == theirs.provider
    assert ours.batch == theirs.batch or model == "gpt-4", "in 2023 gpt-4 had no batches"
    assert ours.source != theirs.source


def test_a_model_of_the_maintained_list_has_its_version_and_its_page():
    price = find_price("gemini-2.5-flash", today=TODAY)
    assert price.source.startswith(f"genai-prices {version('genai-prices')} (gemini-2.5-flash), from https://ai.google")
    assert (price.realtime.input_usd_per_mtok, price.realtime.output_usd_per_mtok) == (0.3, 2.5)
    # Of this model the cache costs the same in a batch: https://ai.google.dev/gemini-api/docs/pricing
    assert price.batch.cached_input_usd_per_mtok == price.realtime.cached_input_usd_per_mtok == 0.03
    assert date(2026, 11, 1) <= price.date <= TODAY
    assert find_price("claude-haiku-5-5", today=TODAY).prompt_limit_tokens == 100_000
    assert find_price("gemini-3.5-flash", today=TODAY).batch is None, "the list has none of it"


def test_a_price_that_changes_is_that_of_the_day():
    """gemini-3.8-flash costs half until the end of 2026."""
    before, after = (find_price("gemini-3.8-flash", today=day) for day in (TODAY, date(2027, 1, 1)))
    assert (before.realtime.input_usd_per_mtok, after.realtime.input_usd_per_mtok) == (0.75, 1.5)
    assert (before.batch.output_usd_per_mtok, after.batch.output_usd_per_mtok) == (1.875, 3.75)
    assert before.date < after.date == date(2027, 1, 1)


def test_a_folder_of_ones_own_goes_before_everything(tmp_path):
    (tmp_path / "mine.yaml").write_text(SHEET.replace("model: mine", "model: gpt-4"))
    assert find_price("gpt-4", today=TODAY, folders=[tmp_path]).realtime.output_usd_per_mtok == 4
    assert find_price("gpt-4", today=TODAY).realtime.output_usd_per_mtok == 60


def test_a_model_without_a_price_gets_the_nearest_names():
    with pytest.raises(InputError, match=r"gpt-5\.55: no price of this model; did you mean gpt-5\.5[\s\S]*--price"):
        find_price("gpt-5.55", today=TODAY)
    with pytest.raises(InputError, match=r"whisper-1: genai-prices has no price of its text tokens"):
        find_price("whisper-1", today=TODAY)


def test_a_price_of_the_list_that_cannot_be_is_refused():
    odd = ModelPrice(input_mtok=Decimal(1), cache_read_mtok=Decimal(2), output_mtok=Decimal(3))
    with pytest.raises(InputError, match=r"odd: genai-prices has a price of it that cannot be: .*cached input"):
        _rates("odd", odd)


def test_without_the_package_the_sheets_still_hold(monkeypatch):
    for name in ("genai_prices", "genai_prices.data_snapshot"):
        monkeypatch.setitem(sys.modules, name, None)
    assert find_price("gpt-4", today=TODAY).provider == "openai"
    with pytest.raises(InputError, match=r"pip install 'slm\[bench\]'"):
        find_price("gpt-4o", today=TODAY)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ("    date: 2026-11-01\n", ""),
            r"mine\.yaml: not a valid sheet.*\n  prices\.0 \(mine\)\.date: Field required",
        ),
        (("source: https", "sauce: https"), r"prices\.0 \(mine\)\.sauce: Extra inputs[\s\S]*configs/prices/hosted"),
        (("output_usd_per_mtok: 4", "output_usd_per_mtok: -4"), r"\(mine\)\.realtime\.output_usd_per_mtok"),
        (("output_usd_per_mtok: 4", "output_usd_per_mtok: .nan"), r"\(mine\)\.realtime\.output_usd_per_mtok"),
        (("cached_input_usd_per_mtok: 1", "cached_input_usd_per_mtok: 5"), "cached input costs more than other"),
        (("source: https://example.com/prices", "source: ''"), r"\(mine\)\.source"),
        (("    provider: me", "  - model: other\n    provider: me"), r"prices\.0 \(mine\)\.provider: Field required"),
        (("- model: mine", "- 7\n  - model: mine"), r"prices\.0: Input should be"),
        (("prices:", "{"), "cannot be read"),
        (("prices:", "things:"), "prices: Field required"),
    ],
)
def test_a_sheet_that_is_wrong_is_refused_with_its_file_and_entry(tmp_path, change, problem):
    (tmp_path / "mine.yaml").write_text(SHEET.replace(*change))
    with pytest.raises(RecipeError, match=problem):
        read_prices(tmp_path)


def test_a_model_in_two_sheets_and_a_folder_without_any_are_refused(tmp_path):
    with pytest.raises(RecipeError, match="no sheet of prices here"):
        read_prices(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(SHEET)
    with pytest.raises(RecipeError, match=r"b\.yaml: mine has a price in .*a\.yaml already"):
        read_prices(tmp_path)


def test_a_price_warns_from_the_91st_day_on():
    when = date(2026, 8, 28)
    assert age_warning("mine", when, when + timedelta(days=90)) is None
    assert age_warning("mine", when, when - timedelta(days=1)) is None
    assert "mine is of 2026-08-28, 91 days ago" in age_warning("mine", when, when + timedelta(days=91))
