"""Loading a model and its tokenizer from a folder, and saving one. Nothing contacts a hub or runs code from it."""

import logging
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open

from slm.errors import ModelError
from slm.models.cache import atomic_folder, base_name
from slm.models.frozen import mark

Dtype = Literal["float32", "bfloat16"]
Quantize = Literal["none", "nf4", "int8"]

# What tokenizers are made of; the rest of a model's folder is written anew.
_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "chat_template*",
)

_KNOWN = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_NARROW = (torch.float16, torch.bfloat16)

# PEFT imports bitsandbytes in any case, and that advises to install one more package.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def load_tokenizer(path: Path) -> Any:
    """The tokenizer of a model folder, with a padding token. Raises ModelError."""
    from transformers import AutoTokenizer

    with quiet_transformers(), _loading_errors(path, "a folder with tokenizer.json and tokenizer_config.json"):
        tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.name_or_path = base_name(path)
    return tokenizer


def load_config(path: Path) -> Any:
    """The configuration of a model folder, of its text part; its `dtype` is that of the largest weight in the files.

    Raises ModelError.
    """
    from transformers import AutoConfig

    with quiet_transformers(), _loading_errors(path, "a folder with config.json"):
        config = AutoConfig.from_pretrained(str(path), local_files_only=True, trust_remote_code=False)
        config.dtype = _stored_dtype(path) or config.dtype
    return config


def load_model(path: Path, *, dtype: Dtype, quantize: Quantize = "none", as_stored: bool = False) -> Any:
    """The causal language model of a folder, in evaluation mode, as a transformers `PreTrainedModel`.

    A folder whose weights were saved quantized is loaded as it is, without `quantize`.
    `dtype` is that of the weights, or with `nf4` and `int8` of the arithmetic on weights that are kept in 4 bits, their
    scales quantized too (about half a byte a weight), or in 8. Without quantization the model lies on the CPU; with it
    on the current CUDA device, if there is one. With `int8` the library also rounds the inputs of a layer to 8 bits
    (LLM.int8(), arXiv:2208.07339), but on the CPU only in evaluation mode: the loss there differs a little.
    With `as_stored` matrices keep the type of the file where that has fewer bits: who trains them frozen multiplies by
    what `slm.models.frozen.wide` makes of them. They lie in the mapped file itself.
    Its `name_or_path` is the model's name, never a path of this machine. Raises ModelError.
    """
    import transformers

    stored = _stored_matrices(path, getattr(torch, dtype)) if as_stored else None

    auto: Any = transformers.AutoModelForCausalLM
    # No `attn_implementation`: transformers takes sdpa, and eager where sdpa would be wrong (Gemma 2 caps its scores).
    quantized = quantize != "none"
    options: dict[str, Any] = {"quantization_config": quantization_config(quantize, dtype)} if quantized else {}
    with quiet_transformers(), _loading_errors(path, "a folder with config.json and *.safetensors"):
        model, info = auto.from_pretrained(
            str(path),
            dtype=stored or getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    if missing := sorted(info["missing_keys"]):
        shown = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
        raise ModelError(
            f"weights are missing: {shown}",
            where=str(path),
            expected="safetensors files with every weight of config.json",
        )
    if getattr(model, "is_loaded_in_4bit", False):  # now, or when the folder was written
        _mend_cpu_nf4(model, path)
    if getattr(model, "is_quantized", False):
        _cast_rest(model, getattr(torch, dtype))
    if stored is not None and not _widen_rest(model, path, getattr(torch, dtype)):
        return load_model(path, dtype=dtype)
    _let_go_of_file(model)
    model.config.name_or_path = model.name_or_path = base_name(path)
    return model.eval()


def save_model(model: Any, folder: Path, *, base: Path, state: Mapping[str, torch.Tensor] | None = None) -> None:
    """Write a fully trained model to `folder`, complete or not at all, so that `load_model(folder)` loads it.

    Weights as safetensors in their own dtype, and the tokenizer of `base`, the folder it was loaded from, byte by byte.
    `state` is the model's whole `state_dict` where its own tensors are only shards. Raises DiskFullError.
    """
    with atomic_folder(folder) as temporary, quiet_transformers():
        model.save_pretrained(temporary, **({} if state is None else {"state_dict": dict(state)}))
        copy_tokenizer(base, temporary)


def copy_tokenizer(base: Path, folder: Path) -> None:
    """Copy the files of a model folder's tokenizer, byte by byte."""
    for path in (path for pattern in _TOKENIZER_FILES for path in base.glob(pattern)):
        shutil.copyfile(path, folder / path.name)


def count_parameters(model: Any) -> tuple[int, int]:
    """(trainable, all) parameters; tied weights count once, and those in 4 bits as what they stand for."""
    sizes = [(_elements(value), value.requires_grad) for value in model.parameters()]
    return sum(size for size, trainable in sizes if trainable), sum(size for size, _ in sizes)


def _elements(value: Any) -> int:
    # A 4-bit weight is a flat tensor of bytes that remembers the shape it stands for.
    state = getattr(value, "quant_state", None)
    return int(state.shape.numel()) if state is not None else int(value.numel())


def quantization_config(quantize: Quantize, dtype: Dtype) -> Any:
    """What transformers is told to quantize by; `quantize` is not `none`, `dtype` that of the arithmetic."""
    import transformers

    config: Any = transformers.BitsAndBytesConfig
    if quantize == "int8":
        return config(load_in_8bit=True)
    return config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
        # FSDP cuts up only what is stored as floating point numbers; stored as bytes, every GPU would keep all of it.
        bnb_4bit_quant_storage=getattr(torch, dtype) if os.environ.get("ACCELERATE_USE_FSDP") == "true" else "uint8",
    )


def _stored_matrices(path: Path, dtype: torch.dtype) -> torch.dtype | None:
    """The type of all matrices in a folder's files, if it is one and has fewer bits than `dtype`."""
    found = {kind for _, dimensions, kind in _stored(path) if dimensions > 1}
    stored = _KNOWN.get(found.pop()) if len(found) == 1 else None
    return stored if stored is not None and stored.itemsize < dtype.itemsize else None


def _stored_dtype(path: Path) -> torch.dtype | None:
    """The number format of the largest tensor in a folder's files; None without files, or for another format."""
    sizes = _stored(path)
    return _KNOWN.get(max(sizes)[2]) if sizes else None


def _stored(path: Path) -> list[tuple[int, int, str]]:
    """(elements, dimensions, type) of every tensor in a folder's files."""
    found: list[tuple[int, int, str]] = []
    for file in path.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            parts = [tensors.get_slice(name) for name in tensors.keys()]  # noqa: SIM118 - it is no mapping
            found += [(math.prod(part.get_shape()), len(part.get_shape()), part.get_dtype()) for part in parts]
    return found


def _widen_rest(model: Any, path: Path, dtype: torch.dtype) -> bool:
    """Let all but the matrices of a model, loaded in the type of these, have the values it would have in `dtype`.

    False where they are not to be found: a tensor has another name in the file, or is in no file.
    """
    vectors = {name: value for name, value in model.named_parameters() if value.ndim < 2}
    for file in path.glob("*.safetensors"):
        with safe_open(file, "pt") as tensors:
            for name in vectors.keys() & set(tensors.keys()):
                vectors.pop(name).data = tensors.get_tensor(name).to(dtype)
    for module in model.modules():
        scale = getattr(module, "scalar_embed_scale", None)
        if scale is not None:
            module.embed_scale = torch.tensor(scale, dtype=dtype)
    mark(model, dtype)
    return not vectors and all(buffer.dtype not in _NARROW for buffer in model.buffers())


def _cast_rest(model: Any, dtype: torch.dtype) -> None:
    """What is not quantized gets the type of the arithmetic: from a quantized folder it comes as it is stored there."""
    for parameter in model.parameters():
        quantized = getattr(parameter, "quant_state", None) is not None or not parameter.is_floating_point()
        if not quantized and parameter.dtype != dtype:
            parameter.data = parameter.data.to(dtype)


def _let_go_of_file(model: Any) -> None:
    """Copy norms and biases, or for the sake of these kilobytes the whole file stays mapped, and counts as memory.

    Files often have them in float32 beside matrices in bfloat16; loaded as float32, only the matrices are copied.
    """
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data = parameter.data.clone()


def _mend_cpu_nf4(model: Any, path: Path) -> None:
    """Two traps of bitsandbytes on the CPU, which give wrong numbers without a word.

    Rows that do not fill whole blocks are dequantized with the scales of other rows. And on CPUs with AVX512-BF16 the
    weights are repacked at the first use in evaluation mode: answers would depend on the machine, and a later backward
    pass would stop at these layers.
    """
    for name, module in model.named_modules():
        if type(module).__name__ != "Linear4bit":
            continue
        module.support_avx512bf16_for_cpu = False
        block = module.weight.quant_state.blocksize
        if module.weight.device.type == "cpu" and module.in_features % block:
            raise ModelError(
                f"{name} has {module.in_features} inputs, and 4-bit weights on the CPU need a multiple of {block}",
                where=str(path),
                hint="model.quantize=none, or a GPU",
            )


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and advice from transformers: what matters of them, slm says itself."""
    from transformers import utils

    control: Any = utils.logging
    verbosity, bars = control.get_verbosity(), control.is_progress_bar_enabled()
    control.set_verbosity_error()
    control.disable_progress_bar()
    try:
        yield
    finally:
        control.set_verbosity(verbosity)
        if bars:
            control.enable_progress_bar()


@contextmanager
def _loading_errors(path: Path, expected: str) -> Iterator[None]:
    if not path.is_dir():
        raise ModelError("no such folder", where=str(path), expected=expected, hint="slm models pull NAME")
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"cannot be loaded: {reason}", where=str(path), expected=expected) from error
