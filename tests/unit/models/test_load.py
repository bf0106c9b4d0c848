"""Loading: the dtype that was asked for, all weights or an error, 4 bits on the CPU too."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from slm.errors import ModelError
from slm.models.load import count_parameters, load_model, load_tokenizer
from tiny import FAMILIES, make_tiny_model


@pytest.mark.parametrize(("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_dtype(tmp_path, dtype, expected):
    model = load_model(make_tiny_model("llama", tmp_path), dtype=dtype)
    assert {value.dtype for value in model.parameters()} == {expected}
    assert not model.training


def test_gemma2_is_not_loaded_with_sdpa_which_would_drop_its_score_cap(tmp_path):
    kinds = {
        family: load_model(make_tiny_model(family, tmp_path / family), dtype="float32").config._attn_implementation
        for family in FAMILIES
    }
    assert kinds.pop("gemma2") == "eager"
    assert set(kinds.values()) == {"sdpa"}


@pytest.mark.parametrize("family", FAMILIES)
def test_nf4_on_the_cpu_computes_with_the_weights_it_stands_for(family, tmp_path):
    from bitsandbytes.functional import dequantize_4bit

    folder = make_tiny_model(family, tmp_path)
    exact, small = (load_model(folder, dtype="float32", quantize=quantize) for quantize in ("none", "nf4"))
    quantized = {name: part for name, part in small.named_modules() if type(part).__name__ == "Linear4bit"}
    assert len(quantized) == sum(isinstance(part, torch.nn.Linear) for part in exact.model.modules())
    assert count_parameters(small)[1] == count_parameters(exact)[1]
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        for name, part in quantized.items():
            weight, value = exact.get_submodule(name).weight, dequantize_4bit(part.weight.data, part.weight.quant_state)
            assert 0 < (value - weight).norm() / weight.norm() < 0.12, name
            weight.copy_(value)
        assert torch.allclose(small(ids).logits, exact(ids).logits, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_int8_on_the_cpu_computes_with_the_weights_it_stands_for(family, tmp_path):
    from bitsandbytes.functional import int8_vectorwise_dequant

    folder = make_tiny_model(family, tmp_path)
    exact, small = (load_model(folder, dtype="float32", quantize=quantize) for quantize in ("none", "int8"))
    quantized = {name: part for name, part in small.named_modules() if type(part).__name__ == "Linear8bitLt"}
    assert len(quantized) == sum(isinstance(part, torch.nn.Linear) for part in exact.model.modules())
    assert count_parameters(small)[1] == count_parameters(exact)[1]
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        answers = exact(ids).logits
        assert (small(ids).logits - answers).norm() < 0.1 * answers.norm()  # in evaluation inputs are rounded, too
        for name, part in quantized.items():
            weight = exact.get_submodule(name).weight
            value = int8_vectorwise_dequant(part.weight.data, part.state.SCB)
            assert 0 < (value - weight).norm() / weight.norm() < 0.02, name
            weight.copy_(value)
        assert torch.allclose(small.train()(ids).logits, exact.train()(ids).logits, atol=1e-4)


def test_nf4_of_rows_that_the_cpu_would_get_wrong_is_refused(tmp_path):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=100, num_hidden_layers=1, **sizes)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"self_attn\.q_proj has 32 inputs, .* multiple of 64"):
        load_model(tmp_path, dtype="float32", quantize="nf4")


def test_nf4_gives_the_same_in_training_and_in_evaluation(tmp_path):
    """Evaluation must not repack the weights: training after it would lose the gradients behind them."""
    model = load_model(make_tiny_model("llama", tmp_path), dtype="bfloat16", quantize="nf4")
    model.get_input_embeddings().weight.requires_grad_(True)
    ids = torch.arange(20, 40)[None]
    seen = []
    for training in (True, False, True):
        model.train(training)
        output = model(ids, labels=ids)
        output.loss.backward()
        seen.append((output.logits, model.get_input_embeddings().weight.grad.clone()))
        model.zero_grad()
    assert all(torch.equal(logits, seen[0][0]) and torch.equal(gradient, seen[0][1]) for logits, gradient in seen)
    assert seen[0][1].abs().max() > 0


def test_count_parameters_counts_tied_weights_once(tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    stored = sum(value.numel() for value in load_file(tmp_path / "model.safetensors").values())
    assert count_parameters(model) == (stored, stored)
    model.requires_grad_(False)
    assert count_parameters(model) == (0, stored)


def test_a_missing_weight_is_an_error_and_not_a_random_one(tmp_path):
    file = make_tiny_model("llama", tmp_path) / "model.safetensors"
    weights = load_file(file)
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"weights are missing: model\.layers\.1\.mlp\.up_proj\.weight"):
        load_model(tmp_path, dtype="float32")


def test_a_weight_of_another_shape_is_an_error(tmp_path):
    file = make_tiny_model("llama", tmp_path) / "model.safetensors"
    weights = load_file(file)
    weights["model.norm.weight"] = torch.zeros(7)
    save_file(weights, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tmp_path, dtype="float32")


def test_a_cut_off_file_is_an_error(tmp_path):
    file = make_tiny_model("llama", tmp_path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(ModelError) as raised:
        load_model(tmp_path, dtype="float32")
    assert str(tmp_path) in str(raised.value)


def test_weights_that_can_run_code_are_not_loaded(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        load_model(folder, dtype="float32")


def test_code_in_the_folder_is_not_run(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "evil",
        "auto_map": {name: f"evil.{name}" for name in ("AutoConfig", "AutoModelForCausalLM")},
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with pytest.raises(ModelError):
        load_model(folder, dtype="float32")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("load", [load_tokenizer, lambda path: load_model(path, dtype="float32")])
def test_a_folder_that_is_not_there(tmp_path, load):
    with pytest.raises(ModelError, match="no such folder"):
        load(tmp_path / "missing")


def test_a_tokenizer_without_padding_pads_with_its_end(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    del config["pad_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    tokenizer = load_tokenizer(folder)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id


def test_an_empty_folder_has_no_tokenizer(tmp_path):
    with pytest.raises(ModelError, match=r"tokenizer\.json"):
        load_tokenizer(tmp_path)
