"""From GGUF to a folder that loads: nothing that matters is lost on the way."""

import json

import pytest
import torch

from slm.errors import ModelError
from slm.models.convert import convert_gguf
from slm.models.load import count_parameters, load_model, load_tokenizer
from tiny_gguf import make_tiny_gguf

_TEXT = "SELECT name, COUNT(*) FROM singer WHERE age > median"


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    root = tmp_path_factory.mktemp("convert")
    convert_gguf(make_tiny_gguf(root / "tiny.gguf", root / "origin"), root / "converted")
    return root


def test_logits_are_those_of_the_weights_in_the_file(converted):
    from transformers import AutoModelForCausalLM, GgufConfig

    exact = AutoModelForCausalLM.from_pretrained(
        converted,
        gguf_file="tiny.gguf",
        dtype=torch.float32,
        quantization_config=GgufConfig(gguf_file="tiny.gguf", dequantize=True),
    )
    ids = torch.tensor([load_tokenizer(converted / "converted")(_TEXT)["input_ids"]])
    origin, model = (load_model(converted / name, dtype="float32") for name in ("origin", "converted"))
    with torch.no_grad():
        ours, theirs, before = (one(ids).logits.log_softmax(-1) for one in (model, exact, origin))
    stored = (theirs.exp() * (theirs - ours)).sum(-1).mean()
    quantised = (before.exp() * (before - ours)).sum(-1).mean()
    assert stored < 1e-5
    assert stored < quantised / 20, "storing in half precision must be far below the error of quantising to 8 bits"
    assert quantised < 0.05, "the converted model is another one than the file was made from"


def test_matrices_are_halves_and_tied_weights_are_stored_once(converted):
    from safetensors import safe_open

    with safe_open(converted / "converted" / "model.safetensors", "pt") as file:
        slices = {name: file.get_slice(name) for name in file.offset_keys()}
        dtypes = {name: (part.get_dtype(), len(part.get_shape())) for name, part in slices.items()}
    assert "lm_head.weight" not in dtypes
    assert {dtype for dtype, dimensions in dtypes.values() if dimensions > 1} == {"F16"}
    assert {dtype for dtype, dimensions in dtypes.values() if dimensions == 1} == {"F32"}
    assert json.loads((converted / "converted" / "config.json").read_text())["dtype"] == "float32"
    sizes = [count_parameters(load_model(converted / name, dtype="float32")) for name in ("origin", "converted")]
    assert sizes[0] == sizes[1]


def test_tokenizer_keeps_ids_special_tokens_and_chat_template(converted):
    origin, tokenizer = (load_tokenizer(converted / name) for name in ("origin", "converted"))
    assert tokenizer(_TEXT)["input_ids"] == origin(_TEXT)["input_ids"]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )
    assert tokenizer.chat_template == origin.chat_template
    assert tokenizer("x<|im_end|>", add_special_tokens=False)["input_ids"][-1] == tokenizer.eos_token_id


def test_digits_are_split_as_smollm_does(converted):
    """`pre = smollm` means that a digit stands alone; a space before it is a token of its own."""
    tokenizer = load_tokenizer(converted / "converted")
    assert tokenizer.convert_ids_to_tokens(tokenizer("  7 42")["input_ids"]) == ["Ġ", "Ġ", "7", "Ġ", "4", "2"]


def test_nothing_of_this_machine_is_written(converted):
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        assert str(converted) not in (converted / "converted" / name).read_text()


@pytest.mark.parametrize(
    ("content", "problem"), [(b"PK\x03\x04", "not a GGUF file"), (b"GGUF" + bytes(64), "converted")]
)
def test_a_file_that_is_no_model_is_named(tmp_path, content, problem):
    file = tmp_path / "broken.gguf"
    file.write_bytes(content)
    with pytest.raises(ModelError, match=problem) as raised:
        convert_gguf(file, tmp_path / "out")
    assert str(file) in str(raised.value)


def test_a_cut_off_file_is_named(converted, tmp_path):
    file = tmp_path / "cut.gguf"
    file.write_bytes((converted / "tiny.gguf").read_bytes()[:-5000])
    with pytest.raises(ModelError, match=r"cut\.gguf"):
        convert_gguf(file, tmp_path / "out")
