"""From what was measured to one word: the checks that follow from figures alone, and the verdict."""

from collections.abc import Mapping, Sequence

from slm.evaluate import UNAVAILABLE, accuracy, mcnemar, paired_difference
from slm.ops.parity.bounds import BOUNDS, Bounds
from slm.ops.parity.certificate import Check, Closeness, Paired, Verdict
from slm.records import Generation
from slm.records import Verdict as Judgement


def pair(reference: Sequence[Judgement], form: Sequence[Judgement]) -> Paired | None:
    """Both on the same questions, without those that nobody can judge; None if that is all of them."""
    judged = [each for each in zip(reference, form, strict=True) if each[0].reason not in UNAVAILABLE]
    if not judged:
        return None
    first, second = zip(*judged, strict=True)
    difference = paired_difference(first, second)
    return Paired(reference=accuracy(first), form=accuracy(second), difference=difference, p_value=mcnemar(difference))


def check_adapter(to_reference: float, to_base: float, base_to_reference: float, bounds: Bounds = BOUNDS) -> Check:
    """Whether the adapter is at work: `to_base` and `to_reference` are the form's divergences, nats a token."""
    name = "adapter applied"
    if base_to_reference <= bounds.same_kl:
        return Check.unknown(name, "the training changed nothing: the reference answers as the base model does")
    figures = f"KL to the untuned base model {to_base:.2g}, to the reference {to_reference:.2g}"
    if to_base < bounds.base_ratio * to_reference:
        return Check.failed(name, f"it answers as the untuned base model does: {figures}")
    return Check.passed(name, figures)


def check_end(
    ends: tuple[float, float] | None,
    base: float | None,
    answers: Mapping[str, Generation],
    reference_answers: Mapping[str, Generation],
    bounds: Bounds = BOUNDS,
) -> Check:
    """Whether answers end. `ends`: mean log-probability of the end after the reference's answers, the form's and the
    reference's own; `base`: the untuned base model's.
    """
    name = "end token"
    cut, cut_before = (_cut_off(given) for given in (answers, reference_answers))
    lengths = f"{cut:.0%} of the answers run to the length limit, of the reference's {cut_before:.0%}"
    if cut - cut_before >= bounds.cut_off:
        return Check.failed(name, lengths)
    if cut_before >= bounds.never_ends:
        untold = "the run itself does not end its answers: its end is untrained, or the length limit too low"
        return Check.unknown(name, f"{untold} ({cut_before:.0%} run to it)")
    if ends is None:
        return Check.passed(name, lengths)
    form, reference = ends
    figures = f"log-probability of the end {form:.2f}, the reference's {reference:.2f}"
    if base is not None and reference - form >= bounds.end_gap and abs(form - base) < abs(form - reference):
        return Check.failed(name, f"{figures}, the untuned base model's {base:.2f}; {lengths}")
    return Check.passed(name, f"{figures}; {lengths}")


def decide(
    checks: Sequence[Check], closeness: Closeness | None, paired: Paired | None, bounds: Bounds = BOUNDS
) -> tuple[Verdict, str]:
    """The verdict and, in one line, why."""
    if failed := [check for check in checks if check.outcome == "fail"]:
        return "different", "; ".join(f"{check.name}: {check.detail}" for check in failed)
    if closeness is None:
        return "different", "nothing could be measured"
    if lost := _lost(paired, bounds):
        return "different", lost
    measured = _measured(closeness)
    near = closeness.kl_mean if closeness.kl_mean is not None else closeness.logprob_gap
    exact = closeness.kl_mean is None or closeness.kl_mean <= bounds.same_kl
    gap_fits = closeness.logprob_gap is None or closeness.logprob_gap <= bounds.logprob_gap
    if closeness.same_answers == closeness.answers and exact and gap_fits:
        return "same", measured
    bound = bounds.equivalent_kl if closeness.kl_mean is not None else bounds.logprob_gap
    if closeness.share >= bounds.equivalent_answers and gap_fits:
        return "equivalent", measured
    if closeness.share >= bounds.least_answers and near is not None and near <= bound:
        return "equivalent", measured
    return "different", f"beyond the bounds: {measured}"


def _measured(closeness: Closeness) -> str:
    parts = [f"{closeness.same_answers} of {closeness.answers} answers are the same"]
    if closeness.kl_mean is not None:
        parts.append(f"mean KL {closeness.kl_mean:.2g}")
    if closeness.logprob_gap is not None:
        parts.append(f"log-probabilities differ by {closeness.logprob_gap:.2g} a token")
    return ", ".join(parts)


def _lost(paired: Paired | None, bounds: Bounds) -> str | None:
    """What is wrong with the accuracy, if anything; where nothing could be judged, the texts alone decide."""
    if paired is None or paired.difference.value >= 0:
        return None
    form, reference = paired.form, paired.reference
    rights = f"{form.right} of {form.total} right, the reference {reference.right}"
    if paired.p_value < bounds.significance:
        return f"the accuracy is lower: {rights}; McNemar p = {paired.p_value:.2g}"
    if -paired.difference.value > bounds.accuracy_loss:
        return f"{-paired.difference.value:.1%} of the questions are lost: {rights}"
    return None


def _cut_off(answers: Mapping[str, Generation]) -> float:
    return sum(answer.finish_reason == "length" for answer in answers.values()) / max(len(answers), 1)
