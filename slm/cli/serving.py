"""`slm serve`: a run, a model or an exported form behind the OpenAI API."""

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from slm.cli.evaluating import FormOption, ModelOption
from slm.cli.output import Json
from slm.cli.training import AcceptLicense, Runs
from slm.errors import InputError

if TYPE_CHECKING:
    from slm.cli.subjects import Subject
    from slm.serve import Address

# A longer answer takes room in every place of the batch, also of those who ask for a short one.
_MOST_TOKENS = 512
Engine = Literal["auto", "local", "vllm"]
RunArgument = Annotated[
    str | None, typer.Argument(metavar="RUN", help="A run's folder, or its name in the folder of the runs.")
]
EngineOption = Annotated[
    Engine, typer.Option(help="Who computes: slm itself, or vLLM; auto: vLLM where it is installed.")
]
Host = Annotated[str, typer.Option(help="Address to listen on; one that other machines reach needs --key-env.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")]
KeyEnv = Annotated[
    str | None, typer.Option(metavar="VARIABLE", help="The environment variable with the key that clients must send.")
]
Name = Annotated[str | None, typer.Option(help="What clients call the model; by default the run's or model's name.")]
MostTokens = Annotated[
    int | None,
    typer.Option(
        "--max-tokens", min=1, help="The longest answer a request may ask for (local engine).  [default: 512]"
    ),
]
VllmOptions = Annotated[
    str, typer.Option(metavar="TEXT", help='More options for vLLM, such as "--max-model-len 2048 --enforce-eager".')
]
Log = Annotated[Path | None, typer.Option(metavar="FILE", help="Where vLLM's output goes; by default into the cache.")]


def serve(
    run: RunArgument = None,
    model: ModelOption = None,
    form: FormOption = None,
    engine: EngineOption = "auto",
    host: Host = "127.0.0.1",
    port: Port = 8000,
    key_env: KeyEnv = None,
    name: Name = None,
    max_tokens: MostTokens = None,
    vllm_options: VllmOptions = "",
    log: Log = None,
    runs: Runs = Path("runs"),
    accept_license: AcceptLicense = False,
    as_json: Json = False,
) -> None:
    """Serve a tuned run, an untuned model or an exported form behind the OpenAI API, until Ctrl-C.

    Example: slm serve quickstart-1a2b3c4d --engine local
    """
    with _needed():
        from slm.cli.served import default_name, find_subject
        from slm.serve import find_vllm, make_address, until_stopped

    address = make_address(host, port, key_env=key_env)
    subject = find_subject(run, model, form, runs=runs, accept_license=accept_license)
    chosen = ("vllm" if find_vllm() else "local") if engine == "auto" else engine
    _check_options(chosen, {"--max-tokens": max_tokens, "--vllm-options": vllm_options, "--log": log})
    banner = _Banner(name or default_name(subject), chosen, key_env=key_env, as_json=as_json)
    if subject.generate.constrain or subject.generate.candidates > 1:
        print("note: the recipe constrains or chooses answers; a server answers freely, and once", file=sys.stderr)
    with until_stopped():
        if chosen == "local":
            _serve_local(subject, address, banner, most_tokens=max_tokens or _MOST_TOKENS)
        else:
            _serve_vllm(subject, address, banner, options=vllm_options, log=log)


@contextmanager
def _needed() -> Iterator[None]:
    """Imports of what not every machine has. Raises InputError."""
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        raise InputError(
            f"the server needs {package}, which is not installed", hint="pip install 'slm[train,serve]'"
        ) from None


def _check_options(engine: str, given: Mapping[str, object]) -> None:
    """Raises InputError for an option that only the other engine has."""
    for option, value in given.items():
        of = "local" if option == "--max-tokens" else "vllm"
        if value and of != engine:
            raise InputError(f"the engine {engine} has no such option", where=option, expected=f"it with --engine {of}")


class _Banner:
    """What is printed once the server answers: text on a terminal, one line of JSON otherwise. Never the key."""

    def __init__(self, name: str, engine: str, *, key_env: str | None, as_json: bool) -> None:
        self.name, self.engine, self.key_env, self.as_json = name, engine, key_env, as_json

    def show(self, url: str, *, chat: bool, verified: bool, log: Path | None = None) -> None:
        """`verified`: whether the adapter was found to be applied."""
        if self.as_json or not sys.stdout.isatty():
            known = {"url": url, "model": self.name, "engine": self.engine, "adapter_verified": verified}
            print(json.dumps({**known, "key_env": self.key_env, "log": str(log) if log else None}), flush=True)
            return
        checked = ", the adapter is applied" if verified else ""
        print(f"{self.name} answers at {url} ({self.engine} engine{checked})")
        print(f"  try: {self._curl(url, chat=chat)}")
        print(f"  {f'log: {log}; ' if log else ''}Ctrl-C stops it", flush=True)

    def _curl(self, url: str, *, chat: bool) -> str:
        asked = {"messages": [{"role": "user", "content": "How many?"}]} if chat else {"prompt": "How many?"}
        key = f' -H "Authorization: Bearer ${self.key_env}"' if self.key_env else ""
        body = shlex.quote(json.dumps({"model": self.name, **asked}))
        path = "chat/completions" if chat else "completions"
        return f"curl {url}/{path}{key} -H 'Content-Type: application/json' -d {body}"


def _serve_local(subject: "Subject", address: "Address", banner: _Banner, *, most_tokens: int) -> None:
    from slm.cli.served import load_backend

    with _needed():
        from slm.serve.asked import Limits
        from slm.serve.local import serve_local

    with address.listen() as listening:
        address = replace(address, port=listening.getsockname()[1])
        print(f"loading {banner.name}", file=sys.stderr)
        # In a thread that ends: each thread that computed keeps OpenMP workers, and where these are more than there are
        # cores, they sleep between small operations; a lone question then took 75 ms a token instead of 42.
        with ThreadPoolExecutor(max_workers=1) as loader:
            backend, verified = loader.submit(load_backend, subject).result()
        own = subject.generate.max_new_tokens
        limits = Limits(banner.name, own, max(own, most_tokens))

        def ready() -> None:
            banner.show(address.url, chat=backend.renderer.chat, verified=verified)

        serve_local(backend, limits, listening, key=address.key, ready=ready)


def _serve_vllm(subject: "Subject", address: "Address", banner: _Banner, *, options: str, log: Path | None) -> None:
    from slm.cli.served import make_renderer, make_weights
    from slm.paths import cache_home
    from slm.recipe import file_safe
    from slm.serve import require_vllm, run_vllm, vllm_command
    from slm.serve.verify import require_applied

    python = require_vllm()
    with address.listen() as free:
        address = replace(address, port=free.getsockname()[1])
    weights = make_weights(subject, banner.name)
    file = (log or cache_home() / "serve" / f"{file_safe(banner.name)}-{address.port}.log").resolve()
    command = vllm_command(python, weights, address, options)
    print(f"starting vLLM; its log: {file}", file=sys.stderr)
    with run_vllm(command, log=file, key=address.key) as child:
        child.wait_until_ready(f"{address.url.removesuffix('/v1')}/health")
        renderer = make_renderer(subject, weights)
        if weights.base_name is not None:
            require_applied(address.url, weights.name, weights.base_name, renderer, key=address.key)
        banner.show(address.url, chat=renderer.chat, verified=weights.base_name is not None, log=file)
        child.wait()
