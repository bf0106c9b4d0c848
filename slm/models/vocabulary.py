"""A smaller vocabulary for a narrow task: which tokens stay, and a tokenizer that knows no others.

What stays: the tokens of the task's texts, whatever the byte pair merges pass through on the way to them, the special
tokens that the model or its chat template names, every byte and single character, so that any text can still be
encoded, and the tokens that the tokenizer learned first, which are the most frequent ones of all texts. The merges that
stay are those between tokens that stay, in their order: among them are all that a text of the task uses, and merging
always takes the first that applies, so these texts become the same tokens as before. Other texts become more tokens.
"""

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from slm.errors import ModelError
from slm.files import write_json, write_text
from slm.models.load import load_tokenizer

# So many tokens, those that the tokenizer learned first, stay whatever the task.
COMMON_TOKENS = 8192
# What a tokenizer names; their ids stay.
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
_FILE, _CONFIGS = "tokenizer.json", ("tokenizer_config.json", "special_tokens_map.json")
Encode = Callable[[Any], Iterable[Sequence[int]]]


def trim_tokenizer(
    source: Path, folder: Path, encode: Encode, *, keep: Iterable[int] = (), common: int = COMMON_TOKENS
) -> list[int]:
    """Write the tokenizer of `source` with a smaller vocabulary to `folder`; the old ids that stay, in the new order.

    `encode` gives the token ids of every text of the task with the tokenizer it is handed; `keep` are further ids that
    must stay, `common` is how many of the first learned stay in any case. That each of the texts becomes the same
    tokens with the new tokenizer is checked.
    Raises ModelError for a vocabulary that is not of byte pairs, or where a text would become other tokens.
    """
    spec = json.loads((source / _FILE).read_bytes())
    _check_kind(spec, source)
    tokenizer = load_tokenizer(source)
    before = [tuple(ids) for ids in encode(tokenizer)]
    named = {getattr(tokenizer, f"{name}_id") for name in _NAMED} - {None}
    used = named.union(keep, *before)
    kept = choose_tokens(spec, used, template=str(tokenizer.chat_template or ""), common=common)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / _FILE, json.dumps(trimmed_spec(spec, kept), ensure_ascii=False, separators=(",", ":")))
    _write_rest(source, folder, spec, kept)
    _check_same(before, encode(load_tokenizer(folder)), kept, source)
    return kept


def choose_tokens(spec: Mapping[str, Any], used: Iterable[int], *, template: str, common: int) -> list[int]:
    """The ids that stay, in ascending order; `spec` is the content of `tokenizer.json`, `template` a chat template."""
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    added = {token["content"]: int(token["id"]) for token in spec["added_tokens"]}
    merges = list(_merges(spec))
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    names = {number: token for token, number in vocabulary.items()}
    learned = dict.fromkeys(left + right for left, right in merges)
    kept = {*used, *(vocabulary[token] for token in islice(learned, common))}
    kept.update(number for text, number in added.items() if text in template)
    kept.update(number for token, number in vocabulary.items() if _is_piece(token))
    for number in sorted(kept):
        if number in names and names[number] not in added:
            kept.update(vocabulary[part] for part in _products(names[number], ranks) if part in vocabulary)
    return sorted(kept)


def trimmed_spec(spec: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
    """The content of `tokenizer.json` with only the tokens `kept`, whose new ids are their places there."""
    place = {number: index for index, number in enumerate(kept)}
    model = spec["model"]
    vocabulary = {token: place[number] for token, number in model["vocab"].items() if number in place}
    there = vocabulary.keys()
    merges = [[left, right] for left, right in _merges(spec) if {left, right, left + right} <= there]
    added = [token | {"id": place[token["id"]]} for token in spec["added_tokens"] if token["id"] in place]
    return {
        **spec,
        "added_tokens": added,
        "post_processor": _renumbered(spec["post_processor"], place),
        "model": model | {"vocab": vocabulary, "merges": merges},
    }


def _merges(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs in their order; older files have them as one text."""
    for pair in spec["model"]["merges"]:
        left, right = pair.split(" ") if isinstance(pair, str) else pair
        yield left, right


def _is_piece(token: str) -> bool:
    """A single character (in a byte-level vocabulary that is a byte), or a byte such as `<0x0A>`."""
    return len(token) == 1 or (len(token) == 6 and token.startswith("<0x") and token.endswith(">"))


def _products(token: str, ranks: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """What byte pair encoding passes through when it makes `token`, the token itself included."""
    parts = list(token)
    while len(parts) > 1:
        pairs = [(ranks[pair], at) for at, pair in enumerate(pairwise(parts)) if pair in ranks]
        if not pairs:
            return
        _, at = min(pairs)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
        yield parts[at]


def _renumbered(post_processor: Any, place: Mapping[int, int]) -> Any:
    """The same post-processor with new ids; only templates hold any."""
    if isinstance(post_processor, list):
        return [_renumbered(each, place) for each in post_processor]
    if not isinstance(post_processor, dict):
        return post_processor
    found = {key: _renumbered(value, place) for key, value in post_processor.items()}
    if "special_tokens" in found and found.get("type") == "TemplateProcessing":
        found["special_tokens"] = {
            name: token | {"ids": [place[number] for number in token["ids"]]}
            for name, token in post_processor["special_tokens"].items()
        }
    return found


def _write_rest(source: Path, folder: Path, spec: Mapping[str, Any], kept: Sequence[int]) -> None:
    """The configuration without tokens that are gone, which would come back as new ones; the chat template as it is."""
    place = {number: index for index, number in enumerate(kept)}
    gone = {token["content"] for token in spec["added_tokens"] if token["id"] not in place}
    for path in (source / name for name in _CONFIGS if (source / name).is_file()):
        config = _without(json.loads(path.read_bytes()), gone)
        if decoder := config.get("added_tokens_decoder"):
            config["added_tokens_decoder"] = {
                str(place[int(number)]): token for number, token in decoder.items() if int(number) in place
            }
        write_json(folder / path.name, config)
    for path in source.glob("chat_template*"):
        shutil.copyfile(path, folder / path.name)


def _without(value: Any, gone: set[str]) -> Any:
    """A copy of a JSON value without the tokens `gone`, wherever lists or named values hold them."""
    if isinstance(value, list):
        return [_without(each, gone) for each in value if _token_text(each) not in gone]
    if isinstance(value, dict):
        there = {key: each for key, each in value.items() if _token_text(each) not in gone}
        return {key: each if key == "added_tokens_decoder" else _without(each, gone) for key, each in there.items()}
    return value


def _token_text(value: Any) -> str | None:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else None


def _check_kind(spec: Mapping[str, Any], source: Path) -> None:
    model = spec["model"]
    affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
    if model.get("type") != "BPE" or affixes:
        raise ModelError(
            f"a vocabulary of type {model.get('type')}{' with affixes' if affixes else ''} cannot be trimmed",
            where=str(source / _FILE),
            expected="byte pair encoding (BPE)",
            hint="leave out --trim-vocabulary",
        )


def _check_same(
    before: Sequence[tuple[int, ...]], after: Iterable[Sequence[int]], kept: Sequence[int], source: Path
) -> None:
    different = sum(tuple(kept[new] for new in ids) != old for old, ids in zip(before, after, strict=True))
    if different:
        raise ModelError(
            f"{different} of the task's {len(before)} texts would become other tokens with the trimmed vocabulary",
            where=str(source / _FILE),
            expected="a tokenizer that merges byte pairs in the order of its file",
            hint="leave out --trim-vocabulary",
        )
