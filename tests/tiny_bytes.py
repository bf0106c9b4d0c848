"""A tiny tokenizer of SentencePiece's kind: spaces become `▁`, and what is no token becomes bytes, as in Gemma."""

import json
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, processors, trainers
from transformers import PreTrainedTokenizerFast

_SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<unused0>", "<start_of_turn>", "<end_of_turn>"]
_UNKNOWN = {"unk_token": "<unk>"}


def make_byte_fallback_tokenizer(folder: Path, texts: list[str], size: int = 420) -> Path:
    """Write tokenizer.json and tokenizer_config.json to `folder`; merges are learned from `texts`."""
    learner = Tokenizer(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    learner.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    learned = json.loads(learner.to_str())["model"]
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))]
    tokens += sorted(learned["vocab"], key=learned["vocab"].get)
    backend = Tokenizer(
        models.BPE(
            vocab={token: index for index, token in enumerate(tokens)},
            merges=[tuple(pair) for pair in learned["merges"]],
            **_UNKNOWN,
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    backend.normalizer = normalizers.Replace(" ", "▁")
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    backend.add_special_tokens(_SPECIAL)
    backend.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A <bos> $B", special_tokens=[("<bos>", 2)]
    )
    named = {f"{kind}_token": f"<{kind}>" for kind in ("bos", "eos", "pad")}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, **named, **_UNKNOWN)
    tokenizer.save_pretrained(folder)
    return folder
