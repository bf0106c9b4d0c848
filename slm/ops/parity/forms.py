"""A certificate of an exported form, which is loaded as it would be used, asked, measured and looked into."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slm.errors import ModelError
from slm.models.forms import Form, read_form
from slm.ops.parity.certificate import (
    CERTIFICATE,
    Certificate,
    Check,
    Closeness,
    Paired,
    form_files,
    write_certificate,
)
from slm.ops.parity.prompts import Vocabularies, check_prompts, check_tokenizer, compare_vocabularies
from slm.ops.parity.reference import Reference, ask, identical, usable
from slm.ops.parity.verdict import check_adapter, check_end

if TYPE_CHECKING:
    from slm.generate.local import LocalBackend
    from slm.generate.local.along import Distance


def certify_form(reference: Reference, folder: Path) -> Certificate:
    """Compare a form with the run, and keep the certificate in its folder. Raises ModelError where there is no form."""
    form, files = read_form(folder), form_files(folder)
    checks = [_check_origin(reference, form), _check_files(form, files)]
    from slm.generate.local import load_form_backend

    measured = None
    try:
        backend = load_form_backend(folder)
    except ModelError as error:
        checks.append(Check.failed("loads", str(error).splitlines()[0]))
    else:
        more, measured = _measure(reference, backend, form)
        checks += more
    certificate = reference.certificate(form.name, checks, measured, files=files)
    write_certificate(folder / CERTIFICATE, certificate)
    return certificate


def _measure(
    reference: Reference, backend: "LocalBackend", form: Form
) -> tuple[list[Check], tuple[Closeness, Paired | None] | None]:
    vocabularies = compare_vocabularies(reference.renderer.tokenizer, backend.renderer.tokenizer)
    checks = [
        check_tokenizer(vocabularies, trimmed=form.trimmed),
        *check_prompts(reference.renderer, backend.renderer, reference.prompts, trimmed=form.trimmed),
        _check_weights(reference, backend.model, form, vocabularies),
    ]
    if (rows := len(backend.model.get_input_embeddings().weight)) < vocabularies.size:
        detail = f"the tokenizer has {vocabularies.size} ids, the model {rows} rows for them"
        return [*checks, Check.failed("answers", detail)], None
    answers = ask(backend, reference.prompts, form.name)
    near, to_base = _distances(reference, backend, vocabularies)
    base_end = None
    if near is None or to_base is None:
        untold = "the form has not the tokens of the reference's answers"
        checks.append(Check.unknown("adapter applied", untold))
    else:
        base_end = to_base.reference_end
        checks.append(check_adapter(near.kl_mean, to_base.kl_mean, _base_distance(reference).kl_mean))
    end = (near.end, near.reference_end) if near else None
    checks.append(check_end(end, base_end, answers, reference.answers))
    closeness = Closeness(
        answers=len(answers),
        same_answers=len(identical(reference.answers, answers)),
        tokens=near.tokens if near else 0,
        same_tokens=near.agree if near else 0,
        kl_mean=near.kl_mean if near else None,
        kl_max=near.kl_max if near else None,
    )
    return checks, (closeness, reference.accuracy(answers))


def _distances(
    reference: Reference, backend: "LocalBackend", vocabularies: Vocabularies
) -> "tuple[Distance | None, Distance | None]":
    """The form's distances from the reference and from the untuned base model, along the reference's answers."""
    from slm.generate.local.along import Line, along, distance

    mapping = None if vocabularies.identical else vocabularies.mapping
    numbers = usable(reference.lines, vocabularies.mapping)
    if not numbers:
        return None, None
    lines = [
        # The form's own prompt: what it makes of it is a part of what is compared.
        Line(
            backend.renderer.render(reference.prompts[number]),
            tuple(vocabularies.mapping[token] for token in reference.lines[number].answer),
        )
        for number in numbers
    ]
    expected = [reference.expected[number] for number in numbers]
    base = [reference.base_expected[number] for number in numbers]
    found = along(backend.model, lines, reference=expected, mapping=mapping)
    return distance(expected, found), distance(base, found)


def _base_distance(reference: Reference) -> "Distance":
    from slm.generate.local.along import distance

    return distance(list(reference.expected.values()), list(reference.base_expected.values()))


def _check_origin(reference: Reference, form: Form) -> Check:
    name = "made from this run"
    if form.adapter != reference.adapter:
        detail = f"form.json names weights {form.adapter[:12]} of {form.run}, the run has {reference.adapter[:12]}"
        return Check.failed(name, detail)
    if form.model_fingerprint != reference.model_fingerprint:
        detail = f"form.json names the base model {form.model_fingerprint[:12]}, the run's is another"
        return Check.failed(name, detail)
    return Check.passed(name, f"weights {form.adapter[:12]}")


def _check_files(form: Form, files: dict[str, str]) -> Check:
    if changed := [name for name, file in form.files.items() if files.get(name) != file.sha256]:
        detail = f"changed since they were exported: {', '.join(changed)}"
        return Check.failed("files", detail)
    return Check.passed("files", f"the {len(form.files)} files that were exported")


def _check_weights(reference: Reference, model: Any, form: Form, vocabularies: Vocabularies) -> Check:
    from slm.models.compare import compare_weights

    name = "weights"
    if not reference.mergeable:
        untold = "the run's adapter is for quantized weights, into which it cannot be merged without loss"
        return Check.unknown(name, untold)
    rows = vocabularies.rows() if form.trimmed else None
    found = compare_weights(reference.backend.model, model, rows=rows, bits=_bits(form))
    if found.unlike:
        return Check.failed(name, found.unlike)
    if (worst := found.worst) is not None:
        detail = (
            f"{worst.name} is not the merged weight: off by {worst.deviation:.2g} of its size, "
            f"at most {worst.largest:.2g}; its precision explains {worst.allowed:.2g} and {worst.allowed_largest:.2g}"
        )
        return Check.failed(name, detail)
    return Check.passed(name, f"{found.compared} weights are the base model's with the adapter merged")


def _bits(form: Form) -> int | None:
    """Bits of a weight in a GGUF file: q8_0 → 8, q4_k_m → 4; None for floating point numbers."""
    matched = re.match(r"i?q(\d)", form.quant or "", re.IGNORECASE)
    return int(matched[1]) if matched else None
