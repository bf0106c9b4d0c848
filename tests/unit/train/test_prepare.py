"""What a recipe says becomes a model: quantized, noisy, recomputed, compiled, trained whole; still the same loss."""

import json

import pytest
import torch
from peft.tuners.lora import LoraLayer
from peft.utils.integrations import dequantize_module_weight
from torch._dynamo.utils import counters

from slm.errors import RecipeError
from slm.models import pull_model
from slm.models.load import load_model, load_tokenizer, save_model
from slm.models.lora import save_adapter
from slm.recipe import Recipe
from slm.train.encode import Encoded
from slm.train.loss import summed_loss
from slm.train.optimizer import build_optimizer
from slm.train.pack import plan_packs, to_tensors
from slm.train.prepare import prepare_model, set_example_tokens
from tiny import FAMILIES, make_tiny_model

CPU = torch.device("cpu")


def recipe(**sections) -> Recipe:
    required = {"name": "x", "data": {"train": "a"}, "evaluate": {"suite": "b"}}
    sections["model"] = {"name": "x", **sections.get("model", {})}
    sections["lora"] = {"rank": 4, **sections.get("lora", {})}
    return Recipe.model_validate(required | sections)


def prepare(folder, **sections):
    torch.manual_seed(0)
    wanted = recipe(**sections)
    return prepare_model(folder, wanted, device=CPU).train(), wanted


def examples(vocabulary: int = 200) -> list[Encoded]:
    draw = torch.Generator().manual_seed(3)

    def ids(length: int) -> tuple[int, ...]:
        return tuple(torch.randint(10, vocabulary, (length,), generator=draw).tolist())

    contexts = [ids(20), ids(15)]
    return [Encoded(f"e{n}", contexts[n % 2], ids(6 + n % 3), ids(5)) for n in range(6)]


def loss_of(model, wanted: Recipe):
    packing = wanted.train.packing
    (pack,) = plan_packs(examples(), batch_tokens=1000, seed=0, epoch=0, packing=packing)
    config = getattr(model, "get_base_model", lambda: model)().config
    return summed_loss(model, config, to_tensors(pack), dtype=torch.float32) / pack.target_tokens


def gradient(model, wanted: Recipe) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    loss = loss_of(model, wanted)
    loss.backward()
    return loss.item(), torch.cat([one.grad.flatten().float() for one in model.parameters() if one.grad is not None])


def train(model, wanted: Recipe, steps: int = 4) -> list[float]:
    optimizer = build_optimizer(model, wanted.train, wanted.lora)
    losses = []
    for _ in range(steps):
        losses.append(gradient(model, wanted)[0])
        optimizer.step()
    return losses


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return {family: make_tiny_model(family, folder / family) for family in FAMILIES}


@pytest.mark.parametrize("packing", ["shared", "none"])
@pytest.mark.parametrize("quantize", ["none", "nf4", "int8"])
@pytest.mark.parametrize("family", ["llama", "gemma3"])
def test_gradients_flow_through_quantized_weights_on_the_cpu(tiny, family, quantize, packing):
    model, wanted = prepare(
        tiny[family], model={"quantize": quantize}, train={"packing": packing, "learning_rate": 1e-2}
    )
    exact, _ = prepare(tiny[family], train={"packing": packing})
    with torch.no_grad():  # the full model with the weights that the quantized ones stand for, and the same adapter
        for name, layer in model.named_modules():
            if isinstance(layer, LoraLayer):
                twin = exact.get_submodule(name)
                twin.get_base_layer().weight.copy_(dequantize_module_weight(layer.get_base_layer()))
                twin.lora_A["default"].weight.copy_(layer.lora_A["default"].weight)
    loss, grad = gradient(model, wanted)
    expected_loss, expected = gradient(exact, wanted)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    assert (grad - expected).norm() <= 1e-4 * expected.norm()
    assert all(("lora_" in name) == one.requires_grad for name, one in model.named_parameters())
    losses = train(model, wanted)
    assert losses[-1] < 0.97 * losses[0]


def test_nf4_quantizes_its_scales_too(tiny):
    model, _ = prepare(tiny["llama"], model={"quantize": "nf4"})
    kinds = [one for one in model.modules() if type(one).__name__ == "Linear4bit" and hasattr(one, "quant_state")]
    assert kinds
    assert all(one.weight.quant_state.nested and one.weight.quant_state.quant_type == "nf4" for one in kinds)


def test_packing_decides_the_attention(tiny):
    kinds = [
        prepare(tiny["llama"], train={"packing": packing})[0].config._attn_implementation
        for packing in ("shared", "none")
    ]
    assert kinds[0] != kinds[1] == "sdpa"


@pytest.mark.parametrize(
    ("train", "forward", "backward"),
    # The input of the first of two layers has a gradient only with recomputing.
    [({"recompute": True}, 2, 2), ({"packing": "none"}, 2, 1), ({"packing": "shared"}, 0, 0)],
)
def test_freed_memory_is_returned_between_layers_where_it_would_be_lost(tiny, monkeypatch, train, forward, backward):
    returned: list[None] = []
    monkeypatch.setattr("slm.train.prepare.return_freed_memory", lambda: returned.append(None))
    monkeypatch.setattr("slm.train.prepare._LAYERS_BETWEEN", 1)
    model, wanted = prepare(tiny["llama"], train=train)
    with torch.no_grad():
        loss_of(model, wanted)
    assert not returned
    loss = loss_of(model, wanted)
    assert len(returned) == forward
    loss.backward()
    assert len(returned) == forward + backward


@pytest.mark.parametrize("packing", ["shared", "none"])
@pytest.mark.parametrize("family", FAMILIES)
def test_recomputing_changes_memory_and_no_gradient(tiny, family, packing):
    plain, wanted = prepare(tiny[family], lora={"dropout": 0.1}, train={"packing": packing})
    again, _ = prepare(tiny[family], lora={"dropout": 0.1}, train={"packing": packing, "recompute": True})
    results, kept = [], []
    for model in (plain, again):
        saved: list[int] = []
        pack = torch.autograd.graph.saved_tensors_hooks(lambda one, into=saved: into.append(one.numel()) or one, id_)
        torch.manual_seed(1)  # dropout must be drawn again as it was
        with pack:
            loss = loss_of(model, wanted)
        kept.append(sum(saved))
        loss.backward()
        results.append(torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None]))
    assert torch.equal(*results)
    assert results[0].norm() > 0
    assert kept[1] < 0.5 * kept[0]


def id_(one):
    return one


def test_compiled_layers_give_the_same_loss_and_gradient(tiny):
    plain, wanted = prepare(tiny["llama"])
    compiled, _ = prepare(tiny["llama"], train={"compile": True})
    loss, grad = gradient(plain, wanted)
    counters.clear()
    other_loss, other = gradient(compiled, wanted)
    assert counters["stats"]["unique_graphs"] > 0
    assert all("packed_attention" in reason for reason in counters["graph_break"]), "the rest is one graph"
    assert other_loss == pytest.approx(loss, abs=1e-5)
    assert (other - grad).norm() <= 1e-4 * grad.norm()
    assert compiled.state_dict().keys() == plain.state_dict().keys()


def test_a_missing_compiler_is_said_before_anything_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RecipeError, match=r"train\.compile: torch\.compile needs a C\+\+ compiler.*no-such-compiler"):
        prepare(tmp_path / "no-model", train={"compile": True})


def embeddings_of(model, tokens: int = 30) -> torch.Tensor:
    return model.get_input_embeddings()(torch.arange(10, 10 + tokens)[None]).detach()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_neftune_adds_noise_of_the_published_size_while_training_only(tiny, method):
    model, _ = prepare(tiny["llama"], lora={"rank": 16}, train={"neftune": 5, "method": method})
    plain = embeddings_of(model.eval())
    assert torch.equal(plain, embeddings_of(model))
    noise = embeddings_of(model.train()) - plain
    bound = 5 / (30 * 64) ** 0.5
    assert 0.98 * bound < noise.abs().max() <= bound * 1.001
    assert noise.std() == pytest.approx(bound / 3**0.5, rel=0.05)  # of an even distribution
    assert not torch.equal(noise, embeddings_of(model) - plain)


def test_the_noise_in_a_pack_is_that_of_one_example(tiny):
    model, _ = prepare(tiny["llama"], train={"neftune": 5})
    plain = embeddings_of(model.eval())
    set_example_tokens(model, 7.5)
    bound = 5 / (7.5 * 64) ** 0.5
    assert 0.98 * bound < (embeddings_of(model.train()) - plain).abs().max() <= bound * 1.001


def test_noise_depends_on_the_random_state_alone_and_reaches_the_loss(tiny):
    model, wanted = prepare(tiny["llama"], train={"neftune": 5})
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(loss_of(model, wanted).item())
    assert losses[0] == losses[1] != losses[2]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("packing", ["shared", "none"])
@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3"])
def test_full_training_keeps_float32_weights_and_moves_all_of_them(tiny, family, packing, dtype):
    model, wanted = prepare(
        tiny[family],
        model={"dtype": dtype},
        lora={"rank": 16},
        train={"method": "full", "packing": packing, "learning_rate": 1e-3},
    )
    exact, _ = prepare(tiny[family], lora={"rank": 16}, train={"method": "full", "packing": packing})
    assert {one.dtype for one in model.parameters()} == {torch.float32}
    loss, grad = gradient(model, wanted)
    expected_loss, expected = gradient(exact, wanted)
    assert loss == pytest.approx(expected_loss, rel=1e-5 if dtype == "float32" else 0.03)
    assert torch.nn.functional.cosine_similarity(grad, expected, dim=0) > (0.99999 if dtype == "float32" else 0.95)
    assert torch.equal(grad, expected) == (dtype == "float32"), "bfloat16 must be seen in the arithmetic"
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    losses = train(model, wanted)
    assert losses[-1] < 0.97 * losses[0]
    assert all(not torch.equal(one, before[name]) for name, one in model.named_parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fully_trained_model_is_saved_whole_and_loads_as_it_was(tiny, family, tmp_path):
    model, wanted = prepare(tiny[family], lora={"rank": 16}, train={"method": "full", "learning_rate": 1e-3})
    train(model, wanted, steps=1)
    for name in ("one", "two"):
        save_model(model, tmp_path / name, base=tiny[family])
    files = {path.name for path in (tmp_path / "one").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= files
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert str(tmp_path) not in (tmp_path / "one" / "config.json").read_text()
    assert "slm_" not in (tmp_path / "one" / "config.json").read_text(), "no attention that others do not know"
    again = load_model(tmp_path / "one", dtype="float32")
    ids = torch.arange(20, 40)[None]
    with torch.no_grad():
        assert torch.allclose(again(ids).logits, model.eval()(ids).logits, atol=1e-5)
    assert all(torch.equal(one, model.state_dict()[name]) for name, one in again.state_dict().items())
    text = "SELECT name FROM singer"
    assert load_tokenizer(tmp_path / "one")(text) == load_tokenizer(tiny[family])(text)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gathered_state_is_saved_in_place_of_the_model_s_own(tiny, family, tmp_path):
    model, _ = prepare(tiny[family], lora={"rank": 16}, train={"method": "full"})
    save_model(model, tmp_path / "own", base=tiny[family])
    state = {name: one.detach().clone() for name, one in model.named_parameters()}  # tied weights stand once
    for one in model.parameters():
        one.data.zero_()
    save_model(model, tmp_path / "gathered", base=tiny[family], state=state)
    again, own = (load_model(tmp_path / name, dtype="float32").state_dict() for name in ("gathered", "own"))
    assert all(torch.equal(one, own[name]) for name, one in again.items())


def test_everything_at_once(tiny, tmp_path):
    model, wanted = prepare(
        tiny["gemma3"],
        model={"quantize": "nf4"},
        lora={"init": "loftq", "rslora": True, "ranks": {"down_proj": 6}, "plus_ratio": 4, "dropout": 0.05},
        train={"neftune": 2, "recompute": True, "optimizer": "paged-adamw-8bit", "learning_rate": 1e-2},
    )
    losses = train(model, wanted, steps=6)
    assert losses[-1] < 0.97 * losses[0]
    save_adapter(model, tmp_path / "adapter")
    assert json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["rank_pattern"] == {"down_proj": 6}


def test_the_real_smollm2_learns_in_four_bits():
    folder = pull_model("smollm2-135m")
    model, wanted = prepare(
        folder, model={"quantize": "nf4"}, lora={"rank": 8}, train={"learning_rate": 2e-3, "recompute": True}
    )
    losses = train(model, wanted, steps=5)
    assert losses[-1] < 0.9 * losses[0], losses
