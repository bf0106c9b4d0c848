"""The certificate: what was compared, how far apart the two are, and which files of the form it is about."""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, ValidationError

from slm.errors import DataError
from slm.evaluate import Difference
from slm.files import sha256_file, write_json
from slm.ops.parity.bounds import Bounds
from slm.records import Rate, Record

CERTIFICATE = "parity.json"
# Files of a form's folder that describe it; changing them changes no answer.
_DESCRIPTIONS = (CERTIFICATE, "README.md", "budget.json")

Verdict = Literal["same", "equivalent", "different"]
Outcome = Literal["pass", "fail", "not checked"]


class _Strict(Record):
    model_config = ConfigDict(strict=True)


class Check(_Strict):
    """One question about a form that has an answer: `detail` says what was found, or why nothing could be."""

    name: str
    outcome: Outcome
    detail: str

    @classmethod
    def passed(cls, name: str, detail: str) -> "Check":
        """It is as it should be."""
        return cls(name=name, outcome="pass", detail=detail)

    @classmethod
    def failed(cls, name: str, detail: str) -> "Check":
        """It is not."""
        return cls(name=name, outcome="fail", detail=detail)

    @classmethod
    def unknown(cls, name: str, detail: str) -> "Check":
        """Nothing can be said, and why."""
        return cls(name=name, outcome="not checked", detail=detail)


class Closeness(_Strict):
    """How near the answers are to the reference's; None where it could not be measured.

    `same_answers` of `answers` have the same text. `same_tokens` of `tokens`: the greedy choice is the same at each
    token of the reference's answers; of a server, the tokens before its first other word. `kl_mean` and `kl_max` are
    nats a token. `logprob_gap`: mean difference of the log-probability of answers that are the same, nats a token.
    """

    answers: int
    same_answers: int
    tokens: int
    same_tokens: int
    kl_mean: float | None = None
    kl_max: float | None = None
    logprob_gap: float | None = None

    @property
    def share(self) -> float:
        """Share of the answers that have the same text."""
        return self.same_answers / self.answers


class Paired(_Strict):
    """Execution accuracy of both on the same questions; `p_value`: McNemar's exact test on where they differ."""

    reference: Rate
    form: Rate
    difference: Difference
    p_value: float


class Certificate(_Strict):
    """`parity.json`. `files`: hex sha256 of the form's files; of a server only its `endpoint` is known.

    `adapter` and `model` are the hashes of the run's weights and of its base model, `questions_fingerprint` that of the
    questions that were asked.
    """

    schema_version: Literal[1] = 1
    verdict: Verdict
    reason: str
    run: str
    form: str
    endpoint: str | None = None
    adapter: str
    model: str
    suite: str
    questions_fingerprint: str
    closeness: Closeness | None
    accuracy: Paired | None
    checks: tuple[Check, ...]
    bounds: Bounds
    files: dict[str, str]
    code: dict[str, str | None]
    versions: dict[str, str]

    @property
    def good(self) -> bool:
        """Whether the form may stand for the run."""
        return self.verdict != "different"


def certificate_of(folder: Path) -> Certificate | None:
    """The certificate of an exported form; None where there is none, or the form's files are no longer the same."""
    try:
        # The file is JSON, which has lists where the record has tuples; strict all the same.
        certificate = Certificate.model_validate_json((folder / CERTIFICATE).read_bytes())
    except (OSError, ValidationError):
        return None
    return certificate if certificate.files == form_files(folder) else None


def write_certificate(path: Path, certificate: Certificate) -> None:
    """Write it atomically."""
    write_json(path, certificate)


def form_files(folder: Path) -> dict[str, str]:
    """Hex sha256 by path of every file that an answer may depend on."""
    if not folder.is_dir():
        raise DataError("no such folder", where=str(folder), expected="a form that slm export wrote")
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in files
        if path.name not in _DESCRIPTIONS and not path.name.startswith(".")
    }
