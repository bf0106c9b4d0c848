"""What a GGUF file says of a tokenizer: tokens, their types, merges or scores, special ids and the chat template."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import gguf
from gguf import TokenType

from slm.errors import ModelError


def add_tokenizer_keys(writer: gguf.GGUFWriter, tokenizer: Any, rows: int, ends: Sequence[int], where: str) -> None:
    """Add everything that llama.cpp needs to make token ids of text and text of token ids.

    `rows` is how many tokens the embedding has; `ends` are the ids that end an answer besides the end-of-text token.
    Raises ModelError for a tokenizer that llama.cpp has no name for.
    """
    spec = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens, types = _tokens(spec, rows, where)
    if _is_byte_level(spec):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_pre_tokenizer(spec, where))
        writer.add_token_list(tokens)
        writer.add_token_types(types)
        writer.add_token_merges([" ".join(pair) for pair in spec["model"]["merges"]])
    elif spec["model"]["type"] == "BPE" and spec["model"]["byte_fallback"]:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_scores(_scores(spec, rows))
        writer.add_token_types(types)
        writer.add_add_space_prefix(_adds_space(spec))
    else:
        raise ModelError(
            "tokens that are neither of bytes nor fall back to bytes are not written to GGUF",
            where=where,
            expected="byte pair encoding",
            hint="slm export --to nf4 or --to int8",
        )
    _add_special(writer, tokenizer, ends)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tokens(spec: Mapping[str, Any], rows: int, where: str) -> tuple[list[str], list[int]]:
    """Texts and types by id."""
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    added = {int(token["id"]): token for token in spec["added_tokens"]}
    names = {number: text for text, number in vocabulary.items()} | {
        number: token["content"] for number, token in added.items()
    }
    if max(names) >= rows:
        raise ModelError(f"the tokenizer has ids up to {max(names)}", where=where, expected=f"ids below {rows}")
    # Models often have more rows than tokens.
    texts = [names.get(number, f"[PAD{number}]") for number in range(rows)]
    types = [TokenType.UNUSED if number not in names else TokenType.NORMAL for number in range(rows)]
    if spec["model"].get("byte_fallback"):
        for byte in range(256):
            if (number := vocabulary.get(f"<0x{byte:02X}>")) is not None:
                types[number] = TokenType.BYTE
        if (unknown := vocabulary.get(spec["model"].get("unk_token") or "")) is not None:
            types[unknown] = TokenType.UNKNOWN
    for number, token in added.items():
        if types[number] == TokenType.UNKNOWN:
            continue
        types[number] = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        if not token["special"] and not _is_byte_level(spec):
            texts[number] = texts[number].replace("▁", " ")  # llama.cpp looks for these before it replaces spaces
    return texts, [int(kind) for kind in types]


def _scores(spec: Mapping[str, Any], rows: int) -> list[float]:
    """llama.cpp joins the two neighbours whose union has the highest score: minus the rank of its first merge."""
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    merges = spec["model"]["merges"]
    scores = [-float(len(merges))] * rows
    for rank, (left, right) in reversed(list(enumerate(merges))):
        scores[vocabulary[left + right]] = -float(rank)
    return scores


def _is_byte_level(spec: Mapping[str, Any]) -> bool:
    return any(step["type"] == "ByteLevel" for step in _steps(spec["decoder"], "decoders"))


def _adds_space(spec: Mapping[str, Any]) -> bool:
    """Whether a space is put before a text."""
    normalizers, cuts = _steps(spec["normalizer"], "normalizers"), _steps(spec["pre_tokenizer"], "pretokenizers")
    return any(step["type"] == "Prepend" for step in normalizers) or any(
        step["type"] == "Metaspace" and step.get("prepend_scheme") != "never" for step in cuts
    )


def _pre_tokenizer(spec: Mapping[str, Any], where: str) -> str:
    """llama.cpp's name for how text is cut before merging."""
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    *cuts, last = _steps(spec["pre_tokenizer"], "pretokenizers")
    if last["type"] == "ByteLevel" and not last["add_prefix_space"]:
        if not cuts and last["use_regex"]:
            return "gpt-2"
        kind = cuts[0]["type"] if len(cuts) == 1 else None
        if kind == "Digits" and cuts[0]["individual_digits"] and last["use_regex"]:
            return "smollm"
        if kind == "Split" and cuts[0]["behavior"] == "Isolated" and not last["use_regex"]:
            pattern = cuts[0]["pattern"].get("Regex")
            for name in ("llama-bpe", "qwen2", "gpt-4o", "tekken"):
                if GGUF_PRE_TOKENIZER_SPLITS.get(name) == pattern:
                    return name
    raise ModelError(
        "llama.cpp has no name that is known here for how this tokenizer cuts text before merging",
        where=where,
        expected="the tokenizer of Llama, SmolLM, Qwen, GPT-2, GPT-4o (Phi-4), or one of SentencePiece",
        hint="slm export --to nf4 or --to int8",
    )


def _steps(step: Any, name: str) -> list[dict[str, Any]]:
    """A step of a tokenizer, or those of a sequence of them."""
    if step is None:
        return []
    return list(step[name]) if step["type"] == "Sequence" else [step]


def _add_special(writer: gguf.GGUFWriter, tokenizer: Any, ends: Sequence[int]) -> None:
    ids = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(ids[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(ids[-1] == tokenizer.eos_token_id)
    for number, add in (
        (tokenizer.bos_token_id, writer.add_bos_token_id),
        (tokenizer.eos_token_id, writer.add_eos_token_id),
        (tokenizer.unk_token_id, writer.add_unk_token_id),
        (tokenizer.pad_token_id, writer.add_pad_token_id),
        (next((end for end in ends if end != tokenizer.eos_token_id), None), writer.add_eot_token_id),
    ):
        if number is not None:
            add(number)
