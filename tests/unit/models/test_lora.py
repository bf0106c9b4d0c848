"""LoRA: the layers that were asked for get an adapter, only it is trained, and it comes back as it was saved."""

import json
import os
import subprocess
import sys

import pytest
import torch
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from safetensors.torch import load_file

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


@pytest.mark.parametrize("quantize", ["none", "nf4", "int8"])
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


def layers(model) -> dict[str, LoraLayer]:
    found = {name.partition("layers.")[2]: one for name, one in model.named_modules() if isinstance(one, LoraLayer)}
    assert found
    return found


def delta(layer) -> torch.Tensor:
    return (layer.scaling["default"] * layer.lora_B["default"].weight @ layer.lora_A["default"].weight).detach()


def test_ranks_and_alphas_by_name_and_the_longest_name_counts(tmp_path):
    lora = LoraSection(
        rank=4,
        alpha=8,
        ranks={"down_proj": 2, "layers.1.mlp.down_proj": 3, "mlp.down_proj": 6},
        alphas={"q_proj": 1.0, "down_proj": 12.0},
    )
    model = add_lora(load_model(make_tiny_model("llama", tmp_path), dtype="float32"), lora)
    found = {name: (layer.r["default"], layer.scaling["default"]) for name, layer in layers(model).items()}
    assert found["0.mlp.down_proj"] == (6, 2.0)
    assert found["1.mlp.down_proj"] == (3, 4.0)
    assert found["0.self_attn.q_proj"] == (4, 0.25)
    assert found["0.self_attn.k_proj"] == (4, 2.0)


@pytest.mark.parametrize("key", ["ranks", "alphas"])
@pytest.mark.parametrize("name", ["k_proj", "down", "down_proj|o_proj", "layers.9.self_attn.q_proj"])
def test_a_rank_or_alpha_of_no_adapted_layer_names_those_there_are(key, name, tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    with pytest.raises(RecipeError) as raised:
        add_lora(model, LoraSection(targets=("q_proj", "down_proj"), **{key: {name: 2}}))
    assert f"lora.{key}: no layer that gets an adapter is named {name}" in str(raised.value)
    assert "names out of: down_proj, q_proj" in str(raised.value)


def test_only_the_upper_layers_get_an_adapter(tmp_path):
    folder = make_tiny_model("llama", tmp_path / "model")
    model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=4, upper=0.5))
    assert {name.partition(".")[0] for name in layers(model)} == {"1"}
    train_a_step(model)
    save_adapter(model, tmp_path / "adapter")
    assert torch.equal(logits(load_adapter(load_model(folder, dtype="float32"), tmp_path / "adapter")), logits(model))
    for share, count in ((0.01, 1), (0.74, 1), (0.76, 2), (1.0, 2)):
        model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=4, upper=share))
        assert len({name.partition(".")[0] for name in layers(model)}) == count


def test_rslora_scales_by_the_root_of_the_rank(tmp_path):
    lora = LoraSection(rank=4, alpha=8, rslora=True, ranks={"q_proj": 16})
    found = layers(add_lora(load_model(make_tiny_model("llama", tmp_path), dtype="float32"), lora))
    assert found["0.self_attn.k_proj"].scaling["default"] == pytest.approx(4.0)
    assert found["0.self_attn.q_proj"].scaling["default"] == pytest.approx(2.0)


VARIANTS = {
    "rslora": ({"rslora": True}, "none"),
    "dora": ({"dora": True}, "none"),
    "dora-nf4": ({"dora": True, "dropout": 0.1}, "nf4"),
    "pissa": ({"init": "pissa"}, "none"),
    "pissa-patterns": ({"init": "pissa", "ranks": {"q_proj": 8}, "alphas": {"down_proj": 5.0}}, "none"),
    "pissa-rslora": ({"init": "pissa", "rslora": True, "ranks": {"q_proj": 8}, "alphas": {"up_proj": 5.0}}, "none"),
    "loftq": ({"init": "loftq", "ranks": {"q_proj": 8}}, "nf4"),
    "patterns": ({"ranks": {"q_proj": 8}, "alphas": {"down_proj": 5.0}}, "int8"),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("family", ["llama", "gemma3", "phi3"])
def test_every_variant_trains_its_adapter_alone_and_comes_back_on_a_fresh_model(family, variant, tmp_path):
    settings, quantize = VARIANTS[variant]
    if family == "phi3":  # its attention is one matrix
        settings = json.loads(json.dumps(settings).replace("q_proj", "qkv_proj").replace('"up_proj', '"gate_up_proj'))
    folder = make_tiny_model(family, tmp_path / "model")
    plain = load_model(folder, dtype="float32", quantize=quantize)
    model = add_lora(
        load_model(folder, dtype="float32", quantize=quantize), LoraSection(rank=4, alpha=6, **settings), folder=folder
    )
    trained = {name.split(".")[-3] for name in trainable(model)}
    assert trained == {"lora_A", "lora_B"} | ({"lora_magnitude_vector"} if "dora" in variant else set())
    if "loftq" not in variant:
        assert torch.allclose(logits(model), logits(plain), atol=1e-3)
    frozen = {name: value.clone() for name, value in model.named_parameters() if not value.requires_grad}
    before = {name: value.clone() for name, value in model.named_parameters() if value.requires_grad}
    model.train()
    train_a_step(model)
    model.eval()
    assert all(torch.equal(value, frozen[name]) for name, value in model.named_parameters() if name in frozen)
    assert all(not torch.equal(value, before[name]) for name, value in model.named_parameters() if name in before)
    expected = logits(model)
    assert (expected - logits(plain)).abs().max() > 0.05
    save_adapter(model, tmp_path / "adapter")
    again = load_adapter(load_model(folder, dtype="float32", quantize=quantize), tmp_path / "adapter")
    assert (logits(again) - expected).abs().max() < (1e-3 if "pissa" in variant else 1e-6)
    if quantize == "none":
        assert torch.allclose(logits(again.merge_and_unload()), expected, atol=2e-3)


def trainable(model) -> list[str]:
    return [name for name, value in model.named_parameters() if value.requires_grad]


def test_pissa_keeps_the_model_and_takes_out_its_principal_part(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    plain = load_model(folder, dtype="float32")
    model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=4, init="pissa"))
    layer = layers(model)["0.mlp.up_proj"]
    weight = plain.model.layers[0].mlp.up_proj.weight.detach()
    left_over = torch.linalg.svdvals(weight)[4:].norm()  # by the best approximation of rank 4
    assert left_over * 0.999 < layer.get_base_layer().weight.norm() < left_over * 1.01
    assert torch.allclose(layer.get_base_layer().weight + delta(layer), weight, atol=1e-5)


def test_a_pissa_adapter_is_saved_as_peft_converts_it(tmp_path):
    from peft import PeftModel

    folder = make_tiny_model("llama", tmp_path / "model")
    model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=4, init="pissa", ranks={"q_proj": 2}))
    # PEFT wants the untrained adapter as one that changes no weights, and looks for the base model by its folder.
    settings = model.peft_config["default"]
    settings.base_model_name_or_path, settings.init_lora_weights = str(folder), True
    model.save_pretrained(tmp_path / "first")
    settings.init_lora_weights = "pissa"
    train_a_step(model)
    save_adapter(model, tmp_path / "ours")
    model.save_pretrained(tmp_path / "theirs", path_initial_model_for_weight_conversion=str(tmp_path / "first"))
    ours, theirs = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("ours", "theirs"))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert isinstance(load_adapter(load_model(folder, dtype="float32"), tmp_path / "theirs"), PeftModel)
    one, other = (json.loads((tmp_path / name / "adapter_config.json").read_text()) for name in ("ours", "theirs"))
    assert {name for name in one if name != "target_modules" and one[name] != other[name]} == set()


def test_pissa_in_bfloat16_comes_back_to_rounding(tmp_path):
    folder = make_tiny_model("llama", tmp_path / "model")
    model = add_lora(load_model(folder, dtype="bfloat16"), LoraSection(rank=4, init="pissa"))
    train_a_step(model)
    save_adapter(model, tmp_path / "adapter")
    again = load_adapter(load_model(folder, dtype="bfloat16"), tmp_path / "adapter")
    change = (logits(model) - logits(load_model(folder, dtype="bfloat16"))).float().norm()
    assert (logits(again) - logits(model)).float().norm() < 0.2 * change


def test_loftq_makes_up_for_part_of_what_four_bits_lose(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    plain = load_model(folder, dtype="float32")
    lora = LoraSection(rank=8, alpha=32, init="loftq")
    model = add_lora(load_model(folder, dtype="float32", quantize="nf4"), lora, folder=folder)
    for name, layer in layers(model).items():
        exact = plain.get_submodule(f"model.layers.{name}").weight.detach()
        lost = exact - dequantize_module_weight(layer.get_base_layer())
        best = torch.linalg.svdvals(lost)[8:].norm()  # Eckart and Young: what rank 8 must leave
        assert (lost - delta(layer)).norm().item() == pytest.approx(best.item(), rel=1e-3)
        assert best < 0.95 * lost.norm()


@pytest.mark.parametrize("quantize", ["none", "int8"])
def test_a_loftq_adapter_is_refused_on_weights_that_lost_nothing(quantize, tmp_path):
    folder = make_tiny_model("llama", tmp_path / "mine")
    nf4 = load_model(folder, dtype="float32", quantize="nf4")
    save_adapter(add_lora(nf4, LoraSection(rank=4, init="loftq"), folder=folder), tmp_path / "adapter")
    with pytest.raises(ModelError, match=r"makes up for(.|\n)*in 4 bits \(nf4\)"):
        load_adapter(load_model(folder, dtype="float32", quantize=quantize), tmp_path / "adapter")


def test_loftq_reads_weights_from_several_files_and_names_a_missing_one(tmp_path):
    folder = make_tiny_model("llama", tmp_path)
    nf4 = load_model(folder, dtype="float32", quantize="nf4")
    whole = add_lora(nf4, LoraSection(rank=4, init="loftq"), folder=folder)
    load_model(folder, dtype="float32").save_pretrained(tmp_path / "parts", max_shard_size="200KB")
    assert len(list((tmp_path / "parts").glob("*.safetensors"))) > 1
    nf4 = load_model(folder, dtype="float32", quantize="nf4")
    parts = add_lora(nf4, LoraSection(rank=4, init="loftq"), folder=tmp_path / "parts")
    assert torch.equal(logits(parts), logits(whole))
    next((tmp_path / "parts").glob("*-00002-*")).unlink()
    nf4 = load_model(folder, dtype="float32", quantize="nf4")
    with pytest.raises(ModelError, match=r"no weight model\.layers"):
        add_lora(nf4, LoraSection(rank=4, init="loftq"), folder=tmp_path / "parts")


@pytest.mark.parametrize(("lora", "key"), [({"rank": 40}, "lora.rank"), ({"ranks": {"k_proj": 33}}, "lora.ranks")])
def test_pissa_of_a_higher_rank_than_the_weight_has_is_refused(lora, key, tmp_path):
    model = load_model(make_tiny_model("llama", tmp_path), dtype="float32")
    with pytest.raises(
        RecipeError, match=rf"^{key}: rank \d\d of model\.layers\.0\.self_attn\.k_proj (.|\n)*at most 32"
    ):
        add_lora(model, LoraSection(init="pissa", **lora))


@pytest.mark.parametrize("settings", [{}, {"dora": True}, {"init": "pissa"}])
def test_an_adapter_is_saved_from_a_gathered_state_too(settings, tmp_path):
    folder = make_tiny_model("llama", tmp_path / "model")
    model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=4, **settings))
    train_a_step(model)
    save_adapter(model, tmp_path / "own")
    state = {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}
    for value in model.parameters():
        value.data.zero_()
    save_adapter(model, tmp_path / "gathered", state=state)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "own" / name).read_bytes() == (tmp_path / "gathered" / name).read_bytes()


def test_another_process_saves_the_same_bytes(tmp_path):
    """Hashes of text, and so the order of sets, differ from process to process."""
    folder = make_tiny_model("llama", tmp_path / "model")
    program = (
        "import sys, torch; from pathlib import Path; from slm.models.load import load_model\n"
        "from slm.models.lora import add_lora, save_adapter; from slm.recipe import LoraSection\n"
        "torch.manual_seed(0); model = load_model(Path(sys.argv[1]), dtype='float32')\n"
        "save_adapter(add_lora(model, LoraSection(rank=4)), Path(sys.argv[2]))"
    )
    for seed in ("1", "2"):
        subprocess.run(
            [sys.executable, "-c", program, str(folder), str(tmp_path / seed)],
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1"},
        )
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


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
