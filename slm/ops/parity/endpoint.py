"""A certificate of a running server: what it answers, how sure it is of that, and how many tokens it counts."""

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from slm.errors import InputError
from slm.generate.openai import OpenAiBackend, read_key
from slm.ops.parity.bounds import BOUNDS
from slm.ops.parity.certificate import Certificate, Check, Closeness, write_certificate
from slm.ops.parity.prompts import begins_with_bos
from slm.ops.parity.reference import Reference, ask, identical
from slm.ops.parity.verdict import check_end
from slm.recipe import RunFolder, file_safe
from slm.records import Generation


def endpoint_file(run: RunFolder, url: str) -> Path:
    """Where the certificate of a server is kept: in the run's folder, by host and port."""
    return run.path / f"parity-{file_safe(urlsplit(url).netloc)}.json"


def certify_endpoint(reference: Reference, url: str, model: str, *, key_env: str | None = None) -> Certificate:
    """Compare what a server calls `model` with the run, and keep the certificate in the run's folder.

    `key_env` names the environment variable that holds the key. Raises InputError, and JobError for a server that
    cannot be asked.
    """
    tokens = reference.recipe.generate.max_new_tokens
    with OpenAiBackend(url, model, reference.renderer, max_new_tokens=tokens, key=read_key(key_env)) as backend:
        served = backend.served()
        if served is not None and model not in served:
            raise InputError("the server has no such model", where=model, expected=f"one of: {', '.join(served)}")
        answers = ask(backend, reference.prompts, f"server {urlsplit(url).netloc}")
    closeness = _closeness(reference, answers)
    checks = [
        *_check_counts(reference, answers),
        _check_applied(reference, answers),
        _check_run(reference, answers, closeness),
        check_end(None, None, answers, reference.answers),
        Check.unknown("weights", "a server does not show them"),
    ]
    measured = closeness, reference.accuracy(answers)
    certificate = reference.certificate(f"server: {model}", checks, measured, files={}, endpoint=backend.url)
    write_certificate(endpoint_file(reference.run, url), certificate)
    return certificate


def _closeness(reference: Reference, answers: Mapping[str, Generation]) -> Closeness:
    same = identical(reference.answers, answers)
    tokens = {number: reference.renderer.target_ids(answer.text) for number, answer in reference.answers.items()}
    agree = 0
    for number, ours in tokens.items():
        theirs = reference.renderer.target_ids(answers[number].text)
        agree += next((n for n, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), len(ours))
    return Closeness(
        answers=len(answers),
        same_answers=len(same),
        tokens=sum(map(len, tokens.values())),
        same_tokens=agree,
        logprob_gap=_gap(reference, answers, same),
    )


def _gap(reference: Reference, answers: Mapping[str, Generation], same: list[str]) -> float | None:
    """Mean difference of the log-probability of answers that are the same, nats a token; None where there is none."""
    gaps = [
        abs(theirs - ours) / (reference.answers[number].completion_tokens or 1)
        for number in same
        if (theirs := answers[number].logprob) is not None and (ours := reference.answers[number].logprob) is not None
    ]
    return sum(gaps) / len(gaps) if gaps else None


def _check_counts(reference: Reference, answers: Mapping[str, Generation]) -> tuple[Check, Check]:
    """(prompt ids, BOS), as far as the server's own count of a prompt's tokens tells."""
    bos = begins_with_bos(reference.renderer, reference.prompts)
    no_bos = Check.unknown("BOS", "the reference's prompts begin without one")
    more = {
        number: told - (reference.answers[number].prompt_tokens or 0)
        for number, answer in answers.items()
        if (told := answer.prompt_tokens) is not None
    }
    if not more:
        untold = "the server does not tell how many tokens a prompt has"
        return (
            Check.unknown("prompt ids", untold),
            Check.unknown("BOS", untold) if bos else no_bos,
        )
    off = {number: difference for number, difference in more.items() if difference}
    if not off:
        passed = Check.passed("prompt ids", f"as many tokens in {len(more)} prompts")
        return passed, Check.passed("BOS", "no prompt is a token short") if bos else no_bos
    number, difference = next(iter(off.items()))
    ours = reference.answers[number].prompt_tokens or 0
    detail = f"{number}: the server counts {ours + difference} tokens, the reference has {ours}"
    differ = Check.failed("prompt ids", f"{detail}; {len(off)} of {len(more)} prompts differ")
    kinds = set(more.values())
    if not bos:
        return differ, no_bos
    if kinds == {-1}:
        return differ, Check.failed("BOS", "every prompt is a token short: the BOS is missing")
    if kinds == {1}:
        return differ, Check.failed("BOS", "every prompt has a token more: the BOS is there twice")
    return differ, Check.unknown("BOS", "the prompts differ by more than a token")


def _check_applied(reference: Reference, answers: Mapping[str, Generation]) -> Check:
    name = "adapter applied"
    telling = [
        number for number, answer in reference.base_answers.items() if answer.text != reference.answers[number].text
    ]
    if not telling:
        return Check.unknown(name, "the untuned base model gives the same answers")
    as_base = sum(answers[number].text == reference.base_answers[number].text for number in telling)
    as_run = sum(answers[number].text == reference.answers[number].text for number in telling)
    detail = f"of {len(telling)} answers that tell, {as_run} are the run's and {as_base} the untuned base model's"
    failed = as_base > as_run and as_base * 2 >= len(telling)
    return Check.failed(name, detail) if failed else Check.passed(name, detail)


def _check_run(reference: Reference, answers: Mapping[str, Generation], closeness: Closeness) -> Check:
    """Whether it is this run that answers, and not another adapter or another model."""
    name, gap = "adapter of this run", closeness.logprob_gap
    if closeness.share < 0.5:
        others = [number for number, answer in answers.items() if answer.text != reference.answers[number].text]
        as_base = sum(answers[number].text == reference.base_answers[number].text for number in others)
        if as_base * 2 <= len(others):
            neither = f"{len(others) - as_base} neither the run's nor the untuned base model's"
            detail = f"of {closeness.answers} answers {closeness.same_answers} are the run's, {neither}"
            return Check.failed(name, f"{detail}: another adapter or model")
    if gap is not None and gap > BOUNDS.other_gap:
        detail = f"the same answers with log-probabilities that differ by {gap:.2g} a token: another adapter"
        return Check.failed(name, detail)
    return Check.passed(name, f"{closeness.same_answers} of {closeness.answers} answers are the run's")
