"""A server that was given an adapter must not answer as the untuned base model does."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from slm.errors import JobError
from slm.generate.openai import OpenAiBackend
from slm.records import Prompt
from slm.tasks import Renderer

if TYPE_CHECKING:
    from slm.generate.local import LocalBackend

_SCHEMAS = ("singer(id int pk, name text, age int)", "orders(id int pk, total real, ordered_on date)")
_QUESTIONS = ("How many are there?", "List the first three.")
PROBES = tuple(Prompt(context=schema, question=question) for schema in _SCHEMAS for question in _QUESTIONS)
_TOKENS = 8
# Two answers of one model differ by so much a token where other requests are computed with them; adapters by far more.
_NOISE = 1e-4  # nats


def load_applied(base: "Callable[[], LocalBackend]", tuned: "Callable[[], LocalBackend]") -> "LocalBackend":
    """The tuned model, loaded after the base model that it must differ from. Raises JobError."""
    from slm.generate.local.probe import probe, same

    untuned = probe(base(), PROBES)  # the base model is gone before the other comes
    backend = tuned()
    if same(probe(backend, PROBES), untuned):
        raise _not_applied(len(PROBES))
    return backend


def require_applied(url: str, name: str, base_name: str, renderer: Renderer, *, key: str | None) -> None:
    """Ask a server that has both what it calls the tuned model and the base model. Raises JobError."""
    answers = []
    for model in (name, base_name):
        with OpenAiBackend(url, model, renderer, max_new_tokens=_TOKENS, key=key) as backend:
            answers.append(list(backend.generate([(str(number), probe) for number, probe in enumerate(PROBES)])))
    for tuned, untuned in zip(*answers, strict=True):
        gap = abs((tuned.logprob or 0.0) - (untuned.logprob or 0.0))
        if tuned.text != untuned.text or gap > _NOISE * (tuned.completion_tokens or 1):
            return
    raise _not_applied(len(PROBES))


def _not_applied(count: int) -> JobError:
    return JobError(
        f"the adapter is not applied: {count} of {count} probes are answered exactly as by the untuned base model\n"
        "  try: slm runs show RUN, which says whether the run has learned anything"
    )
