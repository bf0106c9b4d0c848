"""The texts that a vocabulary is trimmed after: all that training shows, and what the databases hold."""

from slm.data import load_dataset
from slm.models.load import load_tokenizer
from slm.ops.texts import TaskTexts
from slm.recipe import load_recipe
from slm.tasks import Renderer, TextToSql
from tiny import make_tiny_model


def test_prompts_targets_names_and_cells_are_among_them_and_test_questions_are_not(tmp_path):
    tokenizer = load_tokenizer(make_tiny_model("llama", tmp_path))
    recipe = load_recipe("quickstart", ["data.limit=10"])
    found = {tuple(ids) for ids in TaskTexts(recipe).encode(tokenizer)}
    renderer = Renderer(tokenizer)

    def ids(text):
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])

    train, test = (load_dataset(ref, limit=10) for ref in ("roastery:train", "roastery:test"))
    task = TextToSql(train.contexts)
    assert all(renderer.render(task.prompt(example)).ids in found for example in train.examples)
    assert all(ids(task.target(example)) in found for example in train.examples)
    assert not any(renderer.render(task.prompt(example)).ids in found for example in test.examples)
    assert any(text.endswith(b"'") for text in (tokenizer.decode(each).encode() for each in found))
    assert (renderer.end_id,) in found


def test_they_come_in_the_same_order_each_time(tmp_path):
    tokenizer = load_tokenizer(make_tiny_model("llama", tmp_path))
    recipe = load_recipe("quickstart", ["data.limit=10"])
    texts = TaskTexts(recipe)
    first = [tuple(ids) for ids in texts.encode(tokenizer)]
    assert first == [tuple(ids) for ids in texts.encode(tokenizer)]
    assert first == [tuple(ids) for ids in TaskTexts(recipe).encode(tokenizer)]
