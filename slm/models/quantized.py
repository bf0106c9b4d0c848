"""A model with its linear layers in 4 or 8 bits, saved so that it loads without the full weights."""

from pathlib import Path
from typing import Any, Literal

from slm.models.load import Dtype, copy_tokenizer, load_model
from slm.models.merge import read_config, stored_dtypes, whole_state, write_weights


def save_quantized(source: Path, folder: Path, *, kind: Literal["nf4", "int8"], dtype: Dtype) -> Any:
    """Quantize the linear layers of the model in `source` (nf4: doubly) and write it into an existing folder.

    `load_model` loads that folder as it is. `dtype` is that of the arithmetic on the quantized weights; embeddings,
    norms and biases are stored as in `source`. Returns the quantized model. Raises ModelError for a model that
    `load_model` cannot quantize on this machine.
    """
    model = load_model(source, dtype=dtype, quantize=kind)
    state, like = whole_state(model), stored_dtypes(source)
    for name, value in state.items():
        # Weights in 4 or 8 bits are integers, and their scales have names that the source has not.
        if name in like and value.is_floating_point():
            state[name] = value.to(like[name])
    write_weights(model, state, folder, dtype=str(read_config(source).get("dtype", "float32")))
    copy_tokenizer(source, folder)
    return model
