"""GGUF files that slm writes: they read back as the same model and tokenizer, also from the standard keys alone."""

import gguf
import pytest
import torch

from slm.errors import ModelError
from slm.models import convert
from slm.models.convert import read_gguf
from slm.models.gguf_file import write_gguf
from slm.models.load import load_model, load_tokenizer
from slm.models.merge import whole_state
from tiny import FAMILIES, make_tiny_model

_TEXT = "SELECT name, COUNT(*) FROM singer WHERE age > 20\n\n  7 naïve ünïcode 店"
_IDS = torch.arange(20, 60)[None]


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(_IDS).logits


def write(family, folder, quant="f32"):
    base = make_tiny_model(family, folder / "base")
    model, tokenizer = load_model(base, dtype="float32"), load_tokenizer(base)
    write_gguf(model, tokenizer, folder / "model.gguf", quant)
    return model, tokenizer, folder / "model.gguf"


@pytest.mark.parametrize("family", FAMILIES)
def test_in_float32_everything_comes_back(family, tmp_path):
    model, tokenizer, file = write(family, tmp_path)
    again, same = read_gguf(file)
    before, after = whole_state(model), whole_state(again)
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.allclose(after[name], value, atol=1e-6), name
    assert torch.allclose(logits(again), logits(model), atol=1e-4)
    for text in (_TEXT, "x<|im_end|>y"):
        assert same(text)["input_ids"] == tokenizer(text)["input_ids"]
    for name in ("bos_token_id", "eos_token_id", "chat_template"):
        assert getattr(same, name) == getattr(tokenizer, name)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_the_standard_keys_alone_say_the_same(family, tmp_path, monkeypatch):
    """Other programs know nothing of the configuration that slm leaves in the file."""
    model, _, file = write(family, tmp_path)
    monkeypatch.setattr(convert, "_own_config", lambda _: {})
    assert torch.allclose(logits(read_gguf(file)[0]), logits(model), atol=1e-4)


@pytest.mark.parametrize(
    ("quant", "error"),
    [("f16", 1e-3), ("bf16", 4e-3), ("q8_0", 0.01), ("q5_1", 0.05), ("q5_0", 0.06), ("q4_1", 0.1), ("q4_0", 0.12)],
)
def test_each_type_is_as_exact_as_its_bits(quant, error, tmp_path):
    model, _, file = write("llama", tmp_path, quant)
    name = "model.layers.1.mlp.down_proj.weight"
    before, after = whole_state(model)[name], whole_state(read_gguf(file)[0])[name]
    assert error / 8 < (after - before).norm() / before.norm() < error


def test_with_few_bits_the_tokens_keep_8_and_norms_stay_exact(tmp_path):
    _, _, file = write("phi3", tmp_path, "q4_0")
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert {types[name] for name in ("token_embd.weight", "output.weight")} == {"Q8_0"}
    assert types["blk.0.attn_qkv.weight"] == "Q4_0"
    assert types["blk.0.attn_norm.weight"] == "F32"


def test_rows_that_are_no_whole_blocks_are_halves(tmp_path):
    base = make_tiny_model("llama", tmp_path / "base")
    model = load_model(base, dtype="float32")
    layer = model.model.layers[0].mlp
    layer.down_proj.weight = torch.nn.Parameter(layer.down_proj.weight[:, :100].clone())
    file = tmp_path / "odd.gguf"
    write_gguf(model, load_tokenizer(base), file, "q8_0")
    types = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(file).tensors}
    assert (types["blk.0.ffn_down.weight"], types["blk.1.ffn_down.weight"]) == ("F16", "Q8_0")


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model, tokenizer, file = write("gemma3", tmp_path, "q8_0")
    write_gguf(model, tokenizer, tmp_path / "again.gguf", "q8_0")
    assert (tmp_path / "again.gguf").read_bytes() == file.read_bytes()


def test_gemma_says_what_llama_cpp_must_know(tmp_path):
    _, _, file = write("gemma3", tmp_path)
    reader = gguf.GGUFReader(file)

    def value(key):
        return reader.get_field(key).contents()

    assert value("general.architecture") == "gemma3"
    assert value("gemma3.attention.sliding_window") == 16
    assert value("gemma3.attention.sliding_window_pattern") == 2  # llama.cpp's own would be 6
    assert value("gemma3.rope.freq_base") == 1_000_000
    assert value("tokenizer.ggml.add_bos_token") is True


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model_type": "mistral"}, "architecture 'mistral' is not written"),
        ({"query_pre_attn_scalar": 99}, "√99"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "do not alternate"),
    ],
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(change, problem, tmp_path):
    base = make_tiny_model("gemma2", tmp_path / "base")
    model = load_model(base, dtype="float32")
    for key, value in change.items():
        setattr(model.config, key, value)
    with pytest.raises(ModelError, match=problem):
        write_gguf(model, load_tokenizer(base), tmp_path / "no.gguf", "q8_0")


def test_a_tokenizer_that_cuts_text_in_an_unknown_way_is_refused(tmp_path):
    from tokenizers import pre_tokenizers

    base = make_tiny_model("llama", tmp_path / "base")
    tokenizer = load_tokenizer(base)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Punctuation(), pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    with pytest.raises(ModelError, match="cuts text"):
        write_gguf(load_model(base, dtype="float32"), tokenizer, tmp_path / "no.gguf", "q8_0")
