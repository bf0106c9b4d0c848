"""Tiny random models of every architecture, made in the process, for tests that need a real model and no download."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerFast
from transformers.models.gemma2 import Gemma2Config
from transformers.models.gemma3 import Gemma3TextConfig
from transformers.models.llama import LlamaConfig
from transformers.models.phi3 import Phi3Config
from transformers.models.qwen2 import Qwen2Config
from transformers.models.qwen3 import Qwen3Config

WINDOW = 16
_VOCABULARY = 500
_TEXT = [
    "SELECT name, COUNT(*) FROM singer AS T1 JOIN concert AS T2 ON T1.singer_id = T2.singer_id WHERE T2.year > 2014",
    "GROUP BY T1.name HAVING SUM(total) >= 10 ORDER BY AVG(age) DESC LIMIT 3",
    "CREATE TABLE orders (id INTEGER PRIMARY KEY, total REAL, ordered_on DATE)",
    "How many customers ordered more than 500 dollars? What is the name of the oldest singer in each country?",
    "Answer the question with one SQLite query on this database. system user assistant model user\n\n",
    "the store employee product category price stock city date first last total number highest lowest average between",
]

_CHATML = """{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"""
_PHI3 = """{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}"""
_GEMMA = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}\
{% endif %}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else m['role']) + '\n' \
+ m['content'] | trim + '<end_of_turn>\n' }}{% endfor %}\
{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"""

_CHATML_TOKENS = {"bos": "<|im_start|>", "eos": "<|im_end|>", "pad": "<|im_end|>", "turn": "<|im_end|>"}
_QWEN_TOKENS = {"bos": None, "eos": "<|im_end|>", "pad": "<|endoftext|>", "turn": "<|im_end|>"}
_PHI3_TOKENS = {"bos": "<s>", "eos": "<|endoftext|>", "pad": "<|endoftext|>", "turn": "<|end|>"}
_GEMMA_TOKENS = {"bos": "<bos>", "eos": "<eos>", "pad": "<pad>", "turn": "<end_of_turn>"}
_MORE_SPECIAL = {
    _PHI3: ["<|system|>", "<|user|>", "<|assistant|>"],
    _GEMMA: ["<start_of_turn>"],
    _CHATML: ["<|im_start|>", "<|endoftext|>"],
}

_SIZES = {"vocab_size": _VOCABULARY, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
_SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 2048}
# Larger first weights than usual: attention that is far from uniform makes a wrong mask visible in the logits.
_SIZES |= {"initializer_range": 0.2}
_MIXED = {"head_dim": 16, "sliding_window": WINDOW, "layer_types": ["sliding_attention", "full_attention"]}

# family: (configuration of transformers, what differs in it, chat template, special tokens, BOS before plain text)
_FAMILIES: dict[str, tuple[Callable[..., Any], dict[str, Any], str, dict[str, str | None], bool]] = {
    "llama": (LlamaConfig, {"tie_word_embeddings": True}, _CHATML, _CHATML_TOKENS, False),
    "gemma2": (Gemma2Config, {**_MIXED, "query_pre_attn_scalar": 16}, _GEMMA, _GEMMA_TOKENS, True),
    "gemma3": (Gemma3TextConfig, {**_MIXED, "query_pre_attn_scalar": 16}, _GEMMA, _GEMMA_TOKENS, True),
    "phi3": (Phi3Config, {"sliding_window": WINDOW}, _PHI3, _PHI3_TOKENS, False),
    "qwen2": (Qwen2Config, {"tie_word_embeddings": True}, _CHATML, _QWEN_TOKENS, False),
    "qwen3": (Qwen3Config, {"tie_word_embeddings": True, "head_dim": 16}, _CHATML, _QWEN_TOKENS, False),
}
FAMILIES = tuple(_FAMILIES)


def make_tiny_model(family: str, folder: Path) -> Path:
    """Write a random model of `family` (one of `FAMILIES`) with its tokenizer to `folder`, always the same one."""
    configuration, differences, template, special, bos_before_text = _FAMILIES[family]
    tokenizer = _tokenizer(template, special, bos_before_text=bos_before_text)
    ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("bos", "eos", "pad")}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(configuration(**(_SIZES | differences | ids)))
        # Real models have a row for padding, which often is the end token; freshly made ones have zeros there.
        torch.nn.init.normal_(model.get_input_embeddings().weight, std=_SIZES["initializer_range"])
    turn_end = tokenizer.convert_tokens_to_ids(special["turn"])
    model.generation_config = GenerationConfig(**(ids | {"eos_token_id": sorted({ids["eos_token_id"], turn_end})}))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def store_matrices(folder: Path, dtype: torch.dtype) -> Path:
    """Round the matrices of a model's file to `dtype`; norms stay in float32, as they do in many files."""
    file = folder / "model.safetensors"
    weights = {name: value.to(dtype) if value.ndim > 1 else value for name, value in load_file(file).items()}
    save_file(weights, file, metadata={"format": "pt"})
    return folder


def _tokenizer(template: str, special: dict[str, str | None], *, bos_before_text: bool) -> PreTrainedTokenizerFast:
    named = [token for token in dict.fromkeys([*special.values(), *_MORE_SPECIAL[template]]) if token]
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=named,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(_TEXT, trainer)
    if bos_before_text:
        bos = (str(special["bos"]), backend.token_to_id(str(special["bos"])))
        backend.post_processor = processors.TemplateProcessing(
            single=f"{bos[0]} $A", pair=f"{bos[0]} $A $B", special_tokens=[bos]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=special["bos"],
        eos_token=special["eos"],
        pad_token=special["pad"],
        additional_special_tokens=[token for token in named if token not in list(special.values())[:3]],
        chat_template=template,
        model_max_length=_SIZES["max_position_embeddings"],
    )
