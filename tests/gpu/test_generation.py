"""On the GPU, too, shared contexts must answer exactly as the library's greedy generation of one prompt at a time."""

import pytest
import torch

from slm.generate.local import LocalBackend
from slm.models.load import load_model, load_tokenizer
from slm.records import Prompt
from slm.tasks import Renderer
from tiny import FAMILIES, make_tiny_model

pytestmark = pytest.mark.gpu

SCHEMA = "customer(id int pk, name text, city text)\norders(id int pk, customer_id int, total real)\n" * 2
QUESTIONS = ["How many customers?", "Total?", "Which city has the most orders, and what is their total value?"]
PROMPTS = [Prompt(context=SCHEMA, question=question) for question in QUESTIONS]
OTHER = Prompt(context="coffee(id int pk, origin text)", question="List all origins.")
REQUESTS = [(f"q{n}", prompt) for n, prompt in enumerate([PROMPTS[0], OTHER, *PROMPTS[1:]])]
NEW = 12


@pytest.mark.parametrize("batch_size", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_answers_are_those_of_the_library(family, batch_size, device, tmp_path):
    folder = make_tiny_model(family, tmp_path)
    renderer = Renderer(load_tokenizer(folder))
    plain = load_model(folder, dtype="float32").to(device)
    expected = {}
    for name, prompt in REQUESTS:
        ids = torch.tensor([renderer.render(prompt).ids], device=device)
        out = plain.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=renderer.end_id,
        )[0, ids.shape[1] :].tolist()
        expected[name] = renderer.decode(out[:-1] if out[-1] == renderer.end_id else out)
    model = load_model(folder, dtype="float32").to(device)
    backend = LocalBackend(model, renderer, max_new_tokens=NEW, batch_size=batch_size)
    assert {answer.example_id: answer.text for answer in backend.generate(REQUESTS)} == expected
