"""What a GGUF file says of a model's architecture: the keys that llama.cpp reads, made from a configuration.

The keys follow llama.cpp's own conversion script. What it would compute otherwise than transformers is refused.
"""

import json
import math
from typing import Any

import gguf

from slm.errors import ModelError

# By `config.model_type`: the architecture in the file.
ARCHITECTURES = {
    "gemma2": gguf.MODEL_ARCH.GEMMA2,
    "gemma3_text": gguf.MODEL_ARCH.GEMMA3,
    "llama": gguf.MODEL_ARCH.LLAMA,
    "phi3": gguf.MODEL_ARCH.PHI3,
    "qwen2": gguf.MODEL_ARCH.QWEN2,
    "qwen3": gguf.MODEL_ARCH.QWEN3,
}
# The whole configuration as transformers has it, for reading the file back: some of it has no key of its own.
CONFIG_KEY = "slm.config"
# Of how many layers the last one sees everything, as llama.cpp takes it if the file says nothing.
_PERIOD = {"gemma2": 2, "gemma3_text": 6}


def add_architecture_keys(writer: gguf.GGUFWriter, config: Any, where: str) -> None:
    """Add the sizes, rotary positions, attention windows and scales. Raises ModelError for what has no key."""
    head = _head_size(config)
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    _add_positions(writer, config, head, where)
    _add_windows(writer, config, where)
    if config.model_type.startswith("gemma"):
        _add_gemma(writer, config, head, where)
    writer.add_string(CONFIG_KEY, json.dumps(config.to_dict(), sort_keys=True))


def _head_size(config: Any) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _add_positions(writer: gguf.GGUFWriter, config: Any, head: int, where: str) -> None:
    rope = config.rope_parameters
    if "full_attention" in rope:  # Gemma 3: another base within windows, which llama.cpp knows
        local = rope["sliding_attention"]
        if local["rope_theta"] != 10_000.0 or local["rope_type"] != "default":
            writer.add_rope_freq_base_swa(local["rope_theta"])
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    writer.add_rope_dimension_count(int(head * rope.get("partial_rotary_factor", 1.0)))
    kind = rope.get("rope_type", "default")
    if kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    elif config.model_type == "phi3":
        original = rope.get("original_max_position_embeddings", config.original_max_position_embeddings)
        writer.add_rope_scaling_orig_ctx_len(original)
        if kind == "longrope":
            writer.add_rope_scaling_attn_factors(_attention_factor(config.max_position_embeddings / original, original))
    elif kind != "default":
        raise ModelError(
            f"rotary positions of type {kind!r} are not written to GGUF",
            where=where,
            expected="type default or linear, or longrope of Phi-3",
        )


def _attention_factor(scale: float, original: int) -> float:
    """How much longer contexts sharpen the scores (LongRoPE, arXiv:2402.13753)."""
    return math.sqrt(1 + math.log(scale) / math.log(original)) if scale > 1 else 1.0


def _add_windows(writer: gguf.GGUFWriter, config: Any, where: str) -> None:
    window = int(getattr(config, "sliding_window", None) or 0)
    kinds = getattr(config, "layer_types", None) or []
    if config.model_type == "phi3":
        writer.add_sliding_window(window)  # 0 tells Phi-4 from Phi-3
        return
    if "sliding_attention" not in kinds:
        return
    if config.model_type not in _PERIOD:
        raise ModelError("attention within windows is not written to GGUF for this architecture", where=where)
    writer.add_sliding_window(window)
    period = kinds.index("full_attention") + 1 if "full_attention" in kinds else len(kinds) + 1
    usual = _PERIOD[config.model_type]
    if [(place + 1) % period == 0 for place in range(len(kinds))] != [kind == "full_attention" for kind in kinds]:
        raise ModelError("layers with windows do not alternate regularly", where=where)
    if period != usual and (period <= len(kinds) or usual <= len(kinds)):
        writer.add_sliding_window_pattern(period)


def _add_gemma(writer: gguf.GGUFWriter, config: Any, head: int, where: str) -> None:
    # llama.cpp divides scores by √head for all but the 27B models, which no file of ours is.
    if config.query_pre_attn_scalar != head:
        raise ModelError(
            f"attention scores divided by √{config.query_pre_attn_scalar} are not written to GGUF",
            where=where,
            expected=f"query_pre_attn_scalar of {head}, the size of a head",
        )
    if config.attn_logit_softcapping:
        writer.add_attn_logit_softcapping(config.attn_logit_softcapping)
    if config.final_logit_softcapping:
        writer.add_final_logit_softcapping(config.final_logit_softcapping)
