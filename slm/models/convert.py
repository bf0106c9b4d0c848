"""From a GGUF file to a folder that loads in a second: safetensors weights and a tokenizer.

Weights. GGUF quantises in blocks; a dequantised weight is the product and sum of half-precision scales and small
integers, which float32 holds exactly. The matrices are kept in float16 and everything else (norms, biases) in float32:
measured on both small models of the catalog against float32 matrices, float16 changes the next-token distribution by a
mean KL divergence of 4e-6 nats or less, bfloat16 by 7e-5 to 1e-4, and both halve the cache. Half precision here is
only storage: `config.json` says float32, and loading casts to the dtype that the recipe asks for.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slm.errors import ModelError
from slm.models.gguf_keys import CONFIG_KEY
from slm.models.load import quiet_transformers
from slm.progress import Meter


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Write `folder` with config, generation config, weights and tokenizer of a GGUF file. Takes about a minute.

    Raises ModelError for a file that is not GGUF or an architecture that transformers does not know, DiskFullError.
    """
    model, tokenizer = read_gguf(gguf)
    with quiet_transformers(), _conversion_errors(gguf):
        tokenizer.save_pretrained(folder)
        model.save_pretrained(folder, state_dict=_stored(model.state_dict()))


def read_gguf(gguf: Path) -> tuple[Any, Any]:
    """(model, tokenizer) of a GGUF file: a transformers model in evaluation mode, all its weights in float32.

    Raises ModelError for a file that is not GGUF or an architecture that transformers does not know.
    """
    from gguf import GGUFReader
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    _check_magic(gguf)
    where: dict[str, Any] = {
        "pretrained_model_name_or_path": str(gguf.parent),
        "gguf_file": gguf.name,
        "local_files_only": True,
    }
    with quiet_transformers(), Meter(f"read {gguf.name}", 2, unit="steps") as meter, _conversion_errors(gguf):
        tokenizer = AutoTokenizer.from_pretrained(**where)
        reader = GGUFReader(gguf)
        _mend_pre_tokenizer(tokenizer, reader)
        meter.advance(note="tokenizer read")
        # Without `dequantize` the blocks stay packed, and such a model refuses to be saved.
        unpack = GgufConfig(gguf_file=gguf.name, dequantize=True)
        where |= {"dtype": torch.float32, "quantization_config": unpack} | _own_config(reader)
        with redirect_stderr(StringIO()):  # a progress bar that cannot be switched off
            model: Any = AutoModelForCausalLM.from_pretrained(**where)
        meter.advance(note="weights unpacked")
        tokenizer.model_max_length = model.config.max_position_embeddings
    return model.eval(), tokenizer


def _own_config(reader: Any) -> dict[str, Any]:
    """The configuration that slm left in the file; the reader of transformers makes one of keys that do not say all."""
    from transformers import AutoConfig

    field = reader.get_field(CONFIG_KEY)
    return {} if field is None else {"config": AutoConfig.for_model(**json.loads(field.contents()))}


def _stored(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Matrices in float16, unless one is out of its range; see the module's docstring. Tied weights stay one."""
    halves: dict[int, Tensor] = {}
    stored = {}
    for name, value in weights.items():
        if value.ndim < 2:
            stored[name] = value
            continue
        half = halves.setdefault(value.data_ptr(), value.to(torch.float16))
        stored[name] = half if bool(torch.isfinite(half).all()) else value
    return stored


def _mend_pre_tokenizer(tokenizer: Any, reader: Any) -> None:
    """Split digits as SmolLM does, which the reader of transformers leaves out.

    Without this `"  7"` becomes other tokens than those the model was trained on, because a space joins the digit.
    """
    from tokenizers import pre_tokenizers

    field = reader.get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        )


def _check_magic(gguf: Path) -> None:
    with gguf.open("rb") as handle:
        if handle.read(4) != b"GGUF":
            raise ModelError("not a GGUF file", where=str(gguf), expected="a file that begins with GGUF")


@contextmanager
def _conversion_errors(gguf: Path) -> Iterator[None]:
    """What transformers and gguf raise about a file that they cannot read."""
    try:
        yield
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, NotImplementedError) as error:
        raise ModelError(
            f"cannot be converted: {error}",
            where=str(gguf),
            expected="a complete GGUF file of an architecture that transformers can read",
        ) from error
