"""`slm parity`: whether what will be served is what was evaluated."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from slm.cli.output import Json, emit
from slm.cli.runs import RunName
from slm.cli.training import Runs
from slm.errors import InputError, JobError

if TYPE_CHECKING:
    from slm.ops.parity import Certificate
    from slm.recipe import RunFolder

Forms = Annotated[
    list[Path] | None,
    typer.Option("--forms", metavar="FOLDER", help="An exported form; several times for several. Default: all."),
]
Endpoint = Annotated[
    str | None, typer.Option(metavar="URL", help="A running server with the OpenAI API, such as http://host:8000/v1.")
]
Served = Annotated[str | None, typer.Option("--model", metavar="NAME", help="What the server calls the model.")]
KeyEnv = Annotated[
    str | None, typer.Option(metavar="VARIABLE", help="The environment variable that holds the server's key.")
]
Questions = Annotated[int, typer.Option(min=1, help="How many of the run's test questions are asked.")]


def parity(
    run: RunName,
    forms: Forms = None,
    endpoint: Endpoint = None,
    model: Served = None,
    key_env: KeyEnv = None,
    questions: Questions = 50,
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Certify that exported forms of a run, or a running server, answer as the run that was evaluated.

    The certificate is kept as parity.json in a form's folder. Ends with 1 if one of them differs.
    Example: slm parity quickstart-1a2b3c4d
    """
    from slm.train.runs import find_run

    folder = find_run(run, runs)
    chosen = _chosen(folder, forms, endpoint, model)
    from slm.ops.card import write_card
    from slm.ops.parity.endpoint import certify_endpoint
    from slm.ops.parity.forms import certify_form
    from slm.ops.parity.reference import Reference

    reference = Reference(folder, questions=questions)
    certificates = []
    for path in chosen:
        certificates.append(certify_form(reference, path))
        write_card(path, folder)
    if endpoint is not None and model is not None:
        certificates.append(certify_endpoint(reference, endpoint, model, key_env=key_env))
    _print(certificates, as_json=as_json)
    if different := [certificate.form for certificate in certificates if not certificate.good]:
        raise JobError(f"not the run that was evaluated: {', '.join(different)}")


def _chosen(run: "RunFolder", forms: list[Path] | None, endpoint: str | None, model: str | None) -> list[Path]:
    """The folders of the forms, each with its form.json."""
    from slm.models.forms import read_form

    if (endpoint is None) != (model is None):
        raise InputError("a server needs both its address and a model's name", expected="--endpoint URL --model NAME")
    if forms is None and endpoint is not None:
        return []
    found = forms or sorted(path.parent for path in run.path.glob("exports/*/form.json"))
    if not found:
        raise InputError(
            "there is nothing to compare",
            where=str(run.path),
            expected="exported forms, --forms FOLDER, or --endpoint URL --model NAME",
            hint=f"slm export {run.path}",
        )
    for path in found:
        read_form(path)  # a wrong folder is told before any work
    return found


def _print(certificates: "Sequence[Certificate]", *, as_json: bool) -> None:
    if as_json or not sys.stdout.isatty():
        print(json.dumps([each.model_dump(mode="json") for each in certificates], indent=2, ensure_ascii=False))
        return
    emit([_row(certificate) for certificate in certificates], as_json=False)
    for certificate in certificates:
        print(f"\n{certificate.form}: {certificate.verdict}: {certificate.reason}")
        for check in certificate.checks:
            print(f"  {check.outcome:<11}  {check.name}: {check.detail}")


def _row(certificate: "Certificate") -> dict[str, str | None]:
    near, paired = certificate.closeness, certificate.accuracy
    kl = near.kl_mean if near else None
    return {
        "form": certificate.form,
        "verdict": certificate.verdict,
        "same_answers": f"{near.same_answers}/{near.answers}" if near else None,
        "mean_kl": None if kl is None else f"{kl:.1e}",
        "right": f"{paired.form.right}/{paired.form.total}" if paired else None,
        "run": f"{paired.reference.right}/{paired.reference.total}" if paired else None,
        "p": f"{paired.p_value:.2g}" if paired else None,
    }
