"""Answering with a model that is being trained leaves it as it was, and sees the weights it has now."""

import pytest
import torch

from slm.generate.local import LocalBackend, load_local
from slm.models.load import load_model, load_tokenizer
from slm.models.lora import add_lora, save_adapter
from slm.recipe import GenerateSection, LoraSection, ModelSection, TaskSection
from slm.records import Prompt
from slm.tasks import Renderer
from tiny import make_tiny_model

SCHEMA = "customer(id int pk, name text, city text)\norders(id int pk, customer_id int, total real)"
REQUESTS = [
    (question, Prompt(context=SCHEMA, question=question))
    for question in ("How many customers are there?", "Total?", "List the names.", "Which city has the most orders?")
]


@pytest.fixture
def folder(tmp_path):
    return make_tiny_model("gemma3", tmp_path / "model")


@pytest.fixture
def adapted(folder):
    """A PEFT model in training, with dropout, gradient checkpointing and an adapter that changes the answers."""
    torch.manual_seed(0)
    model = add_lora(load_model(folder, dtype="float32"), LoraSection(rank=4, dropout=0.5))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    model.train()
    model.base_model.model.model.norm.eval()  # a module in another mode than the rest
    model.base_model.model.gradient_checkpointing_enable({"use_reentrant": False})
    model.config.use_cache = False
    return model


def state(model) -> dict[str, object]:
    plain = model.get_base_model()
    return {
        "modes": [module.training for module in model.modules()],
        "gradients": [parameter.requires_grad for parameter in model.parameters()],
        "implementation": plain.config._attn_implementation,
        "layers": [layer.self_attn.config._attn_implementation for layer in plain.model.layers],
        "use_cache": plain.config.use_cache,
        "checkpointing": plain.is_gradient_checkpointing,
        "grad mode": torch.is_grad_enabled(),
    }


def gradient(model) -> torch.Tensor:
    """Of a loss, without dropout's chance."""
    torch.manual_seed(1)
    model.zero_grad()
    ids = torch.arange(20, 40)[None]
    model(input_ids=ids, labels=ids).loss.backward()
    return torch.cat([each.grad.flatten() for each in model.parameters() if each.grad is not None])


def backend(model, folder, batch_size: int = 2) -> LocalBackend:
    return LocalBackend(model, Renderer(load_tokenizer(folder)), max_new_tokens=8, batch_size=batch_size)


def test_a_model_in_training_is_left_as_it_was(adapted, folder):
    before, expected = state(adapted), gradient(adapted)
    weights = {name: value.clone() for name, value in adapted.state_dict().items()}
    for _ in backend(adapted, folder).generate(REQUESTS):
        assert state(adapted) == before  # also while somebody else is at work
        assert torch.equal(gradient(adapted), expected)
    assert state(adapted) == before
    assert torch.equal(gradient(adapted), expected)
    assert all(torch.equal(weights[name], value) for name, value in adapted.state_dict().items())


def test_it_is_left_as_it_was_when_a_step_fails(adapted, folder):
    before = state(adapted)
    answering = backend(adapted, folder)
    handle = adapted.get_base_model().lm_head.register_forward_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(answering.generate(REQUESTS))
    handle.remove()
    assert state(adapted) == before


def test_answers_are_those_of_the_weights_at_the_time(adapted, folder):
    answering = backend(adapted, folder)
    before = [(answer.text, answer.logprob) for answer in answering.generate(REQUESTS)]
    assert [(answer.text, answer.logprob) for answer in answering.generate(REQUESTS)] == before
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.zeros_(parameter)
    after = {answer.example_id: answer.logprob for answer in answering.generate(REQUESTS)}
    untuned = backend(load_model(folder, dtype="float32"), folder).generate(REQUESTS)
    assert after == pytest.approx({answer.example_id: answer.logprob for answer in untuned}, abs=1e-4)


def test_a_saved_adapter_answers_as_in_training(adapted, folder, tmp_path):
    save_adapter(adapted, tmp_path / "adapter")
    settings = GenerateSection(max_new_tokens=8, batch_size=3)
    loaded = load_local(folder, ModelSection(name=str(folder)), TaskSection(), settings, adapter=tmp_path / "adapter")
    answers = {answer.example_id: (answer.text, answer.logprob) for answer in loaded.generate(REQUESTS)}
    for answer in backend(adapted, folder).generate(REQUESTS):
        text, logprob = answers[answer.example_id]
        assert text == answer.text
        assert logprob == pytest.approx(answer.logprob, abs=1e-3)


def test_full_training_in_bfloat16_arithmetic(folder):
    model = load_model(folder, dtype="float32").requires_grad_(True)
    exact = {answer.example_id: answer.logprob for answer in backend(model, folder).generate(REQUESTS)}
    model.forward = torch.autocast("cpu", torch.bfloat16)(model.forward)
    rounded = {answer.example_id: answer.logprob for answer in backend(model, folder).generate(REQUESTS)}
    assert exact.keys() == rounded.keys()
    assert all(logprob is not None and logprob < 0 for logprob in rounded.values())


def test_compiled_layers_are_not_compiled_for_every_length(folder, monkeypatch):
    model = load_model(folder, dtype="float32")
    expected = [answer.text for answer in backend(model, folder).generate(REQUESTS)]
    compiled = []

    def refuse(graph, inputs):
        compiled.append(graph)
        return graph.forward

    for layer in model.model.layers:
        layer.compile(backend=refuse, dynamic=True)
    assert [answer.text for answer in backend(model, folder).generate(REQUESTS)] == expected
    assert compiled == []
    model(torch.arange(5)[None])
    assert compiled
