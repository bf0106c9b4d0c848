"""Every question gets a slot once, contexts stay together, and memory stays bounded."""

from hypothesis import given
from hypothesis import strategies as st

from slm.generate.local.cache import ContextCache
from slm.generate.local.schedule import CONTEXT_TOKENS, STEP_TOKENS, Question, Queue, in_order
from slm.tasks import Rendered


def questions(shapes: list[tuple[int, int]], sizes: list[int]) -> list[Question]:
    """Questions of (context number, own tokens); `sizes` are the tokens of each context."""
    contexts = [ContextCache(size) for size in sizes]
    return [
        Question(str(number), Rendered((context,) * sizes[context], (1,) * own), contexts[context], 4)
        for number, (context, own) in enumerate(shapes)
    ]


def compute(question: Question) -> None:
    """As a step does."""
    if question.computes_context:
        question.context.keys.append(None)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 700)), max_size=40),
    st.lists(st.integers(0, CONTEXT_TOKENS + 100), min_size=4, max_size=4),
    st.integers(1, 9),
    st.data(),
)
def test_admission(shapes, sizes, slots, data):
    asked = questions(shapes, sizes)
    queue, active, admitted = Queue(asked, slots), [], []
    while queue or active:
        before = list(active)
        new = queue.admit(active)
        assert new or before
        active.extend(new)
        admitted.extend(new)
        assert len(active) <= slots
        # One question may go beyond the step's bound, the next one may not begin there.
        computed = [
            question.context.tokens * question.computes_context + len(question.prompt.question_ids) for question in new
        ]
        assert sum(computed[:-1]) < STEP_TOKENS
        held = {question.context for question in active}
        assert len(held) == 1 or sum(context.tokens for context in held if context.tokens) <= CONTEXT_TOKENS or not new
        for question in new:
            compute(question)
        done = data.draw(st.sets(st.integers(0, len(active) - 1), min_size=1))
        active = [question for number, question in enumerate(active) if number not in done]
    assert sorted(map(id, admitted)) == sorted(map(id, asked))
    for context in {question.context for question in asked}:
        assert sum(question.computes_context for question in asked if question.context is context) == bool(
            context.tokens
        )


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=40))
def test_order(shapes):
    asked = questions(shapes, [5, 6, 7, 8])
    ordered = in_order(asked)
    assert sorted(map(id, ordered)) == sorted(map(id, asked))
    first_seen = list(dict.fromkeys(question.context for question in asked))
    keys = [(first_seen.index(question.context), len(question.prompt.question_ids)) for question in ordered]
    assert keys == sorted(keys)
