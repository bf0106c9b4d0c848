"""LoRA: the layers that were asked for get an adapter, only it is trained, and it comes back as it was saved."""

import json

import pytest
import torch
from peft.tuners.lora import LoraLayer

from slm.errors import ModelError, RecipeError
from slm.models.load import count_parameters, load_model
from slm.models.lora import add_lora, load_adapter, save_adapter
from slm.recipe import LoraSection
from tiny import FAMILIES, make_tiny_model

_IDS = torch.arange(20, 40)[None]


def adapted(model) -> set[str]:
    return {name.rpartition(".")[2] for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def train_a_step(model) -> None:
    """Give the adapter values that change the answers: LoRA's second matrix starts at zero."""
    optimizer = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.3)
    for _ in range(2):
        model(_IDS, labels=_IDS).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model(_IDS).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_targets(family, tmp_path):
    folder = make_tiny_model(family, tmp_path)
    attention = {"qkv_proj", "o_proj"} if family == "phi3" else {"q_proj", "k_proj", "v_proj", "o_proj"}
    mlp = {"gate_up_proj", "down_proj"} if family == "phi3" else {"gate_proj", "up_proj", "down_proj"}
    for targets, expected in {
        "all-linear": attention | mlp,
        "attention": attention,
        ("down_proj",): {"down_proj"},
    }.items():
        model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=4, targets=targets))
        assert adapted(model) == expected
        layers = model.config.num_hidden_layers
        assert sum(isinstance(module, LoraLayer) for module in model.modules()) == layers * len(expected)


@pytest.mark.parametrize("quantize", ["none", "nf4"])
@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_adapter_moves_and_comes_back(family, quantize, tmp_path):
    folder = make_tiny_model(family, tmp_path / "model")
    model = add_lora(load_model(folder, dtype="float32", quantize=quantize), LoraSection(rank=4))
    trainable, everything = count_parameters(model)
    assert 0 < trainable < everything
    assert all("lora_" in name for name, value in model.named_parameters() if value.requires_grad)
    frozen = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    untrained = logits(model)
    train_a_step(model)
    assert all(torch.equal(value, frozen[name]) for name, value in model.named_parameters() if name in frozen)
    trained = logits(model)
    assert not torch.allclose(trained, untrained, atol=1e-3)
    save_adapter(model, tmp_path / "adapter")
    again = load_adapter(load_model(folder, dtype="float32", quantize=quantize), tmp_path / "adapter")
    assert torch.equal(logits(again), trained)
    assert not again.training
    if quantize == "none":
        assert torch.allclose(logits(again.merge_and_unload()), trained, atol=1e-3)


def test_alpha_dropout_and_rank_are_those_of_the_recipe(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=3, alpha=4.5, dropout=0.25))
    layer = next(module for module in model.modules() if isinstance(module, LoraLayer))
    assert (layer.r["default"], layer.scaling["default"], layer.lora_dropout["default"].p) == (3, 1.5, 0.25)


def test_the_adapter_is_float32_on_a_bfloat16_model(tmp_path):
    model = add_lora(load_model(make_tiny_model("llama", tmp_path), dtype="bfloat16"), LoraSection(rank=4))
    assert {value.dtype for value in model.parameters() if value.requires_grad} == {torch.float32}


def test_a_saved_adapter_is_safetensors_and_config_only(tmp_path):
    model = add_lora(load_model(make_tiny_model("llama", tmp_path / "mine"), dtype="float32"), LoraSection(rank=4))
    save_adapter(model, tmp_path / "adapter")
    save_adapter(model, tmp_path / "adapter")
    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "adapter"}
    text = (tmp_path / "adapter" / "adapter_config.json").read_text()
    assert json.loads(text)["base_model_name_or_path"] == "mine"
    assert str(tmp_path) not in text


def test_an_unknown_module_gets_the_model_s_own_names(tmp_path):
    model = load_model(make_tiny_model("phi3", tmp_path / "mine"), dtype="float32")
    with pytest.raises(RecipeError) as raised:
        add_lora(model, LoraSection(targets=("o_proj", "q_proj")))
    message = str(raised.value)
    assert message.startswith("lora.targets: mine has no linear layer named q_proj\n")
    assert "down_proj, gate_up_proj, o_proj, qkv_proj" in message


@pytest.mark.parametrize("name", ["embed_tokens", "lm_head", "self_attn", "proj"])
def test_what_is_not_a_linear_layer_of_a_block_is_no_target(name, tmp_path):
    with pytest.raises(RecipeError, match=name):
        add_lora(load_model(make_tiny_model("phi3", tmp_path), dtype="float32"), LoraSection(targets=(name,)))


def test_attention_of_an_unknown_architecture(tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    model.config.model_type = "novel"
    with pytest.raises(RecipeError, match="'novel' are not known"):
        add_lora(model, LoraSection(targets="attention"))


def test_a_folder_without_an_adapter(tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path / "model"), dtype="float32")
    with pytest.raises(ModelError, match=r"no adapter_config\.json"):
        load_adapter(model, tmp_path)


@pytest.mark.parametrize("other", ["qwen2", "phi3"])
def test_an_adapter_of_another_model_does_not_fit(other, tmp_path):
    one = add_lora(load_model(make_tiny_model("llama", tmp_path / "one"), dtype="float32"), LoraSection(rank=4))
    save_adapter(one, tmp_path / "adapter")
    config = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    if other == "qwen2":  # the same names, but the adapter lacks those of a layer
        from safetensors.torch import load_file, save_file

        file = tmp_path / "adapter" / "adapter_model.safetensors"
        save_file({name: value for name, value in load_file(file).items() if "layers.1." not in name}, file)
    assert config["base_model_name_or_path"] == "one"
    with pytest.raises(ModelError, match="does not fit the model") as raised:
        load_adapter(load_model(make_tiny_model(other, tmp_path / "two"), dtype="float32"), tmp_path / "adapter")
    assert "an adapter of two" in str(raised.value)
