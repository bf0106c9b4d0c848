"""`slm bench`: how fast a server answers a suite's questions under load, and how much of that is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from slm.cli.output import Json
from slm.cli.training import Runs
from slm.errors import DataError, InputError

if TYPE_CHECKING:
    from slm.bench.load import Cache, Plan, Shape, Slo, Sweep, Target
    from slm.cli.load_report import Publish
    from slm.cli.subjects import Subject
    from slm.data import Dataset
    from slm.records import Prompt

Suite = Annotated[
    str | None,
    typer.Argument(metavar="SUITE", help="`SUITE:SPLIT` (see `slm suites list`) or a JSON Lines file of your own."),
]
Url = Annotated[str | None, typer.Option(metavar="URL", help="A server's API, such as http://localhost:8000/v1.")]
Served = Annotated[str | None, typer.Option("--model", metavar="NAME", help="What the server calls the model.")]
KeyEnv = Annotated[
    str | None, typer.Option(metavar="VARIABLE", help="The environment variable that holds the server's key.")
]
Requests = Annotated[int, typer.Option(min=1, help="Requests of each load; the questions are asked in turn.")]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Closed loop: so many requests at a time (default 8).")]
RateOption = Annotated[
    float | None, typer.Option("--rate", min=1e-6, help="Open loop: so many requests a second, whatever comes back.")
]
Burstiness = Annotated[
    float, typer.Option(min=1e-3, help="Of an open loop: 1 is a Poisson process, more comes in bursts.")
]
Trace = Annotated[Path | None, typer.Option(help="Send at the times of this file: a number of seconds a line.")]
SweepOption = Annotated[
    str | None,
    typer.Option("--sweep", metavar="LOW,HIGH", help="Look for the highest rate that keeps the objective of --slo."),
]
SloOption = Annotated[
    str | None, typer.Option("--slo", metavar="TERMS", help="An objective, such as ttft_p95=300ms,total_p95=1s.")
]
CacheOption = Annotated[str, typer.Option("--cache", help="The server's prefix cache: cold, warm, or pair for both.")]
MaxTokens = Annotated[int, typer.Option(min=2, help="Tokens that an answer may have.")]
Timeout = Annotated[float, typer.Option("--timeout-s", min=0.1, help="Seconds until an attempt is given up.")]
Retries = Annotated[int, typer.Option(min=0, help="So often a request is tried again.")]
Tokenizer = Annotated[
    str | None,
    typer.Option(metavar="MODEL", help="Ask as `slm eval` would ask this model, and count by it if need be."),
]
Databases = Annotated[Path | None, typer.Option(help="Folder of the databases, where it is not the suite's own.")]
Seed = Annotated[int, typer.Option(help="Of the send times.")]
Out = Annotated[Path | None, typer.Option(help="The load file (.jsonl); by default in the folder load.")]
ReportOption = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Ask nothing; report what this load file holds.")
]
PublishOption = Annotated[
    bool, typer.Option("--publish", help="Put accuracy and latency into the folder of results, for the leaderboard.")
]
Of = Annotated[
    str | None,
    typer.Option(
        "--of", metavar="RUN|FORM|MODEL", help="Whose answers these are: it is asked as `slm eval` asks it, and named."
    ),
]
Server = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What serves, for the leaderboard, such as 'vLLM, 2 CPU cores'.")
]
Constrain = Annotated[
    bool,
    typer.Option(
        "--constrain", help="Send the grammar of each question's schema: vLLM keeps to it (docs/evaluating.md)."
    ),
]
NameOption = Annotated[str | None, typer.Option(help="Name of the published result.")]
Results = Annotated[Path, typer.Option(help="Folder of the published results.")]


def bench(
    suite: Suite = None,
    url: Url = None,
    model: Served = None,
    key_env: KeyEnv = None,
    requests: Requests = 200,
    concurrency: Concurrency = None,
    rate: RateOption = None,
    burstiness: Burstiness = 1.0,
    trace: Trace = None,
    sweep: SweepOption = None,
    slo: SloOption = None,
    cache: CacheOption = "warm",
    max_tokens: MaxTokens = 128,
    timeout_s: Timeout = 300.0,
    retries: Retries = 4,
    tokenizer: Tokenizer = None,
    databases: Databases = None,
    seed: Seed = 0,
    out: Out = None,
    report: ReportOption = None,
    constrain: Constrain = False,
    of: Of = None,
    publish: PublishOption = False,
    server: Server = None,
    name: NameOption = None,
    results: Results = Path("eval/results"),
    runs: Runs = Path("runs"),
    as_json: Json = False,
) -> None:
    """Ask a server a suite's questions under a load, and grade what it answers. Killed, the same command continues.

    Example: slm bench roastery:test --url http://localhost:8000/v1 --model tuned --concurrency 16
    """
    from slm.bench.load import Bench, Plan, Retry, Shape, parse_slo
    from slm.cli.load_report import finish, report_file
    from slm.files import digest

    objective = parse_slo(slo) if slo else None
    served = _served(of, runs)
    publishing = _publishing(publish, server, name, served, results)
    if report is not None:
        if suite or url or model:
            raise InputError("a report asks nothing", where="--report", expected="no SUITE, --url or --model with it")
        report_file(report, objective, publishing, as_json=as_json)
        return
    if suite is None or url is None or model is None:
        raise InputError("it is not clear who is asked what", expected="SUITE --url URL --model NAME, or --report FILE")
    tokenizer = tokenizer or (served.model.name if served else None)
    caches = _caches(cache)
    load = _load(concurrency, rate, burstiness, trace, sweep, objective, requests, seed)
    times = load.times_s if isinstance(load, Shape) else None
    requests = requests if times is None else len(times)
    dataset, asked, prompts = _questions(suite, databases, requests)
    target = _target(url, model, key_env, max_tokens, timeout_s, tokenizer)
    settings = {"requests": requests, "load": load.label, "times": times and digest(times), "seed": seed, "slo": slo}
    settings |= {"cache": cache, "max_tokens": max_tokens, "timeout_s": timeout_s, "retries": retries}
    settings |= {"tokenizer": tokenizer, "databases": databases and str(databases)}
    if constrain:
        settings["constrain"] = True
        target = replace(target, grammar=_grammars(dataset))
    plan = Plan(suite=suite, url=target.url, model=model, prompts=prompts, settings=settings)
    file = _file(out, plan)
    found = Bench(plan, target, asked, file, Retry(retries)).run(load, requests, caches)
    finish(found, file, dataset, objective, publishing, as_json=as_json)


def _served(of: str | None, runs: Path) -> Subject | None:
    if of is None:
        return None
    from slm.cli.load_publish import find_served

    return find_served(of, runs)


def _publishing(
    publish: bool, server: str | None, name: str | None, served: Subject | None, results: Path
) -> Publish | None:
    if not publish:
        return None
    if server is None or name is None:
        raise InputError("nothing names the row", where="--publish", expected="--server TEXT and --name NAME with it")
    from slm.cli.load_publish import publish_load

    return partial(publish_load, server=server, served=served, name=name, results=results)


def _load(
    concurrency: int | None,
    rate: float | None,
    burstiness: float,
    trace: Path | None,
    sweep: str | None,
    slo: Slo | None,
    requests: int,
    seed: int,
) -> Shape | Sweep:
    from slm.bench.load import Sweep, closed, open_loop, replay

    if [concurrency, rate, trace, sweep].count(None) < 3:
        raise InputError("more than one load", expected="one of --concurrency, --rate, --trace, --sweep")
    if rate is not None:
        return open_loop(rate, requests, burstiness=burstiness, seed=seed)
    if trace is not None:
        return replay(trace)
    if sweep is None:
        return closed(concurrency or 8)
    try:
        low, high = map(float, sweep.split(","))
    except ValueError:
        raise InputError("no range of rates", where=f"--sweep {sweep}", expected="LOW,HIGH, such as 1,64") from None
    if slo is None:
        raise InputError("nothing says what a rate must keep", where="--sweep", hint="--slo ttft_p95=300ms")
    return Sweep(low, high, slo, burstiness, seed)


def _caches(cache: str) -> list[Cache]:
    if cache == "pair":
        return ["cold", "warm"]
    if cache not in ("cold", "warm"):
        raise InputError("no such state of the cache", where=f"--cache {cache}", expected="cold, warm or pair")
    return ["cold"] if cache == "cold" else ["warm"]


def _questions(suite: str, databases: Path | None, requests: int) -> tuple[Dataset, list[tuple[str, Prompt]], str]:
    """The questions that will be asked, no more than there are requests; their prompts, and the digest of these."""
    from slm.data import load_dataset
    from slm.tasks import TextToSql, prompts_digest

    dataset = load_dataset(suite, databases=databases, limit=requests)
    task = TextToSql(dataset.contexts)
    asked = [(example.id, task.prompt(example)) for example in dataset.available]
    if not asked:
        raise DataError("none of the questions drawn has its database here", where=suite, hint="more --requests")
    return dataset, asked, prompts_digest(task, dataset.available)


def _target(
    url: str, model: str, key_env: str | None, max_tokens: int, timeout_s: float, tokenizer: str | None
) -> Target:
    from slm.bench.load import Target
    from slm.generate.openai import api_root, read_key

    asking: dict[str, Any] = {"max_tokens": max_tokens, "timeout_s": timeout_s}
    target = Target(api_root(url), model, read_key(key_env), **asking)
    if tokenizer is None:
        return target
    from slm.models.load import load_tokenizer
    from slm.models.pull import pull_model
    from slm.tasks import Renderer

    renderer = Renderer(load_tokenizer(pull_model(tokenizer)))

    def say(prompt: Prompt) -> list[dict[str, str]] | str:
        return renderer.messages(prompt) or renderer.text(prompt)

    def count(text: str) -> int:
        return len(renderer.tokenizer(text, add_special_tokens=False)["input_ids"])

    return replace(target, say=say, count=count)


def _grammars(dataset: Dataset) -> Callable[[Prompt], str]:
    """The grammar of a prompt's answers, by its schema; a grammar only, since a server follows no aliases."""
    from functools import cache

    from slm.generate.constrain.grammar import sql_grammar
    from slm.tasks import TextToSql

    schemas = TextToSql(dataset.contexts).schemas(dataset.available)

    @cache
    def grammar(context: str) -> str:
        return sql_grammar(schemas[context])

    return lambda prompt: grammar(prompt.context)


def _file(out: Path | None, plan: Plan) -> Path:
    from slm.files import digest
    from slm.recipe import file_safe

    if out is None:
        name = f"{file_safe(plan.suite)}-{file_safe(plan.model)}-{digest(plan.model_dump(mode='json'))[:8]}.jsonl"
        return Path("load") / name
    if out.suffix != ".jsonl":
        raise InputError("not the name of a load file", where=f"--out {out}", expected="a name that ends in .jsonl")
    return out
