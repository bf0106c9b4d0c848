"""A tiny GGUF file of the Llama architecture, quantised like the real ones, for tests of fetching and converting."""

import json
from pathlib import Path

import gguf
import numpy as np

from slm.models.load import load_model, load_tokenizer
from tiny import make_tiny_model

_LAYER_TENSORS = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def make_tiny_gguf(file: Path, scratch: Path) -> Path:
    """Write the tiny Llama as GGUF: matrices in Q8_0, norms in float32; `scratch` gets the model it came from."""
    make_tiny_model("llama", scratch)
    model, tokenizer = load_model(scratch, dtype="float32"), load_tokenizer(scratch)
    writer = gguf.GGUFWriter(file, "llama")
    _write_sizes(writer, model.config)
    _write_tokenizer(writer, tokenizer, json.loads((scratch / "tokenizer.json").read_text())["model"]["merges"])
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    _write_tensor(writer, "token_embd.weight", weights["model.embed_tokens.weight"])
    _write_tensor(writer, "output_norm.weight", weights["model.norm.weight"])
    heads = {"attn_q": model.config.num_attention_heads, "attn_k": model.config.num_key_value_heads}
    for layer in range(model.config.num_hidden_layers):
        for ours, theirs in _LAYER_TENSORS.items():
            value = weights[f"model.layers.{layer}.{ours}.weight"]
            if theirs in heads:  # llama.cpp interleaves the two halves that are rotated together
                value = value.reshape(heads[theirs], 2, -1, value.shape[1]).swapaxes(1, 2).reshape(value.shape)
            _write_tensor(writer, f"blk.{layer}.{theirs}.weight", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _write_sizes(writer, config) -> None:
    writer.add_name("tiny")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_vocab_size(config.vocab_size)


def _write_tokenizer(writer, tokenizer, merges) -> None:
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    control = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types([control[index not in tokenizer.all_special_ids] for index in range(len(tokens))])
    writer.add_token_merges([" ".join(merge) for merge in merges])
    writer.add_bos_token_id(tokenizer.bos_token_id)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(tokenizer.chat_template)


def _write_tensor(writer, name, value) -> None:
    kind = gguf.GGMLQuantizationType.F32 if value.ndim < 2 else gguf.GGMLQuantizationType.Q8_0
    writer.add_tensor(name, gguf.quants.quantize(np.ascontiguousarray(value), kind), raw_dtype=kind)
