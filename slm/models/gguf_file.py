"""Writing a model as one GGUF file, as llama.cpp and what is built on it read it; `convert.read_gguf` reads it back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from slm.errors import ModelError
from slm.models.forms import Quant
from slm.models.gguf_keys import ARCHITECTURES, add_architecture_keys
from slm.models.gguf_tokens import add_tokenizer_keys
from slm.models.merge import check_finite, whole_state
from slm.progress import Meter

_FILE_TYPES = {"f32": "ALL_F32"}  # the others are MOSTLY_…
# With fewer bits, the matrices that stand for tokens keep 8: they are read once a token and decide what it is.
_FEW_BITS = ("q5_1", "q5_0", "q4_1", "q4_0")
_TOKENS = ("token_embd.weight", "output.weight")
_Array = NDArray[Any]


def write_gguf(model: Any, tokenizer: Any, file: Path, quant: Quant) -> None:
    """Write a float32 model with its tokenizer; matrices as `quant`, norms and biases in float32.

    With less than 8 bits the embedding and the output layer are `q8_0`; a matrix whose rows are no whole blocks of 32
    is `f16`. The same model always gives the same bytes.
    Raises ModelError for an architecture or tokenizer that GGUF cannot hold, or weights out of the range of `f16`.
    """
    config, where = model.config, str(model.name_or_path or file.name)
    if config.model_type not in ARCHITECTURES:
        raise ModelError(
            f"architecture {config.model_type!r} is not written to GGUF",
            where=where,
            expected=f"one of: {', '.join(ARCHITECTURES)}",
            hint="slm export --to nf4 or --to int8",
        )
    architecture = ARCHITECTURES[config.model_type]
    writer = gguf.GGUFWriter(file, gguf.MODEL_ARCH_NAMES[architecture])
    writer.add_name(where)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_file_type(gguf.LlamaFileType[_FILE_TYPES.get(quant, f"MOSTLY_{quant.upper()}")])
    add_architecture_keys(writer, config, where)
    add_tokenizer_keys(writer, tokenizer, model.get_input_embeddings().weight.shape[0], _ends(model), where)
    names = gguf.get_tensor_name_map(architecture, config.num_hidden_layers)
    state = whole_state(model)
    with Meter(f"write {quant}", len(state), unit="tensors") as meter:
        for name, value in state.items():
            stored = names.get_name(name, try_suffixes=(".weight", ".bias"))
            if stored is None:
                raise ModelError(f"weight {name} has no name in GGUF", where=where)
            _add(writer, stored, _as_stored(name, value, config), quant, where)
            meter.advance()
    for stored, factors in _rope_factors(config):
        writer.add_tensor(stored, factors)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _as_stored(name: str, value: Tensor, config: Any) -> Tensor:
    """The weight as llama.cpp computes with it: Gemma's norms plus 1, Llama's rotated halves interleaved."""
    if config.model_type.startswith("gemma") and name.endswith("norm.weight"):
        return value + 1
    if config.model_type == "llama" and ".self_attn." in name:
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        layer = name.split(".")[-2]
        if layer in heads:
            return value.view(heads[layer], 2, -1, *value.shape[1:]).transpose(1, 2).reshape(value.shape)
    return value


def _add(writer: gguf.GGUFWriter, name: str, value: Tensor, quant: Quant, where: str) -> None:
    kind = _kind(name, value, quant)
    if kind == gguf.GGMLQuantizationType.F16:
        check_finite(name, value.to(torch.float16), where, hint="slm export --to gguf --quant bf16")
    array: _Array = value.detach().to(torch.float32).contiguous().numpy()
    writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)


def _kind(name: str, value: Tensor, quant: Quant) -> gguf.GGMLQuantizationType:
    if value.ndim < 2:
        return gguf.GGMLQuantizationType.F32
    wanted = "q8_0" if quant in _FEW_BITS and name in _TOKENS else quant
    kind = gguf.GGMLQuantizationType[wanted.upper()]
    block, _ = gguf.GGML_QUANT_SIZES[kind]
    return kind if value.shape[-1] % block == 0 else gguf.GGMLQuantizationType.F16


def _rope_factors(config: Any) -> Iterator[tuple[str, _Array]]:
    """LongRoPE's factor of every frequency, for contexts longer and shorter than the original."""
    rope = config.rope_parameters
    if rope.get("rope_type") == "longrope":
        for length in ("long", "short"):
            yield f"rope_factors_{length}.weight", np.array(rope[f"{length}_factor"], dtype=np.float32)


def _ends(model: Any) -> list[int]:
    ends = model.generation_config.eos_token_id
    return ends if isinstance(ends, list) else [ends] if ends is not None else []
