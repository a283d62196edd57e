"""The `heldout` command. Thin: each command calls one function and prints what it returns."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from time import sleep, time
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from heldout.config import BY_NAME, SETTINGS, default, in_environment, load, nearest
from heldout.derive.history import History
from heldout.errors import ConfigError, HeldoutError
from heldout.records import SCHEMA, Verdict, encode
from heldout.replay import as_recorded
from heldout.store.journal import FILE_NAME as JOURNAL
from heldout.store.journal import read
from heldout.store.runs import new_run, open_run
from heldout.views.export import EXPORTERS
from heldout.views.report.data import EXIT_CODES, exit_code, report
from heldout.views.report.past import Past, past_alerts
from heldout.views.report.text import verdict_lines
from heldout.views.terminal.plain import plain

if TYPE_CHECKING:
    import torch

    from heldout.evals.ranks import Ranks
    from heldout.replay import Replay
    from heldout.train.asked import Asked
    from heldout.train.score_checkpoints import Outcome, Scores
    from heldout.verdicts.rule import Rule
    from heldout.views.notify.notifier import Notifier
    from heldout.views.notify.options import NotifyOptions

UNREADABLE = 3
VERDICTS = ("judge", "report", "check", "export", "guard", "watch")
"""Commands whose exit code is a verdict, so that Python's 1 for any failure would say "warnings"."""
DRAIN_SECONDS = 60.0
"""A look by cron ends when its messages are sent, or after this long."""
PORT = 8765
RUN = (
    "Run folder, journal or folder of runs (its latest); or another tool's log: a Hugging Face "
    "trainer_state.json or output folder, TensorBoard events, a W&B offline run, a CSV file"
)
PIPE_WIDTH = 160
"""Columns of a table that no terminal bounds."""

app = typer.Typer(
    help="The truth about a fine-tuning run, from a fixed held-out set.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
# A terminal gets lines wrapped at words; a file or a pipe gets them whole.
out = Console(soft_wrap=not sys.stdout.isatty(), highlight=False)
err = Console(stderr=True, soft_wrap=not sys.stderr.isatty(), highlight=False)

Sets = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting: --set eval.every=50")
]
Port = Annotated[int, typer.Option(help="Port of the page")]
Notify = Annotated[
    list[str] | None,
    typer.Option(
        "--notify", help="Apprise URL to send alerts to; repeatable; default: $HELDOUT_NOTIFY_URLS"
    ),
]


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file; `heldout settings` lists the keys")],
    set_: Sets = None,
) -> None:
    """Fine-tune as CONFIG says, watched and judged."""
    command = ["heldout", "train", str(config), *_as_sets(set_ or [])]
    folder = _train(_settings(config, set_ or []), command)
    out.print(f"\nSee it: heldout ui {folder.parent}")


@app.command()
def demo(
    steps: Annotated[int, typer.Option(min=6, help="Optimizer steps")] = 84,
    port: Port = PORT,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser")] = True,
    set_: Sets = None,
) -> None:
    """Fine-tune a small real model on the shipped examples and show it live."""
    from heldout.views.page import of_run, page

    every = max(1, steps // 6)
    overrides = [f"train.steps={steps}", f"eval.every={every}", f"train.warmup_steps={steps // 12}"]
    settings = _settings(examples() / "demo.yaml", [*overrides, *(set_ or [])])
    runs = Path(str(settings["output.runs"]))
    name = str(settings["output.run"] or new_run(runs))
    settings["output.run"] = name
    with page(runs, port) as address:
        url = of_run(address, name)
        out.print(f"Live page: {url}\n")
        opened = browser and _is_graphical()
        if opened:
            _open_with(runs / name / JOURNAL, url)
        _train(settings, ["heldout", "demo", "--steps", str(steps), *_as_sets(set_ or [])])
        if opened and sys.stdin.isatty():
            out.print(f"\nThe page stays at {url}. Press Ctrl-C to end.")
            _wait()
    out.print(f"\nSee it again: heldout ui {runs}")


@app.command()
def ui(
    runs: Annotated[Path, typer.Argument(help="Folder of runs, or one run")] = Path("runs"),
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Port = PORT,
    public: Annotated[
        str,
        typer.Option(
            metavar="URL",
            help="Where a proxy shows the page, like https://gpu.example.org/heldout/. "
            "Others reach it there, so it asks for the token in the link that is printed",
        ),
    ] = "",
    browser: Annotated[bool, typer.Option(help="Open the page in a browser")] = True,
    notify_: Notify = None,
) -> None:
    """Serve the live page of a folder of runs, and look whether their trainers live."""
    from heldout.guard import Guard, guarding
    from heldout.views.web.app import serve

    guard_ = Guard(runs, _notifier(notify_ or []))

    def ready(url: str) -> None:
        print(url, flush=True)
        if browser:
            _open(url)

    with guarding(guard_):
        serve(runs, host, port, ready=ready, public=public)


@app.command()
def watch(
    run: Annotated[
        Path,
        typer.Argument(
            help="Run folder, journal, folder of runs (its latest) or another tool's log"
        ),
    ] = Path("runs"),
    once: Annotated[
        bool, typer.Option("--once", help="Print one frame and end, as CI needs it")
    ] = False,
    plain_: Annotated[
        bool,
        typer.Option("--plain", help="Print a line per evaluation, alert and decision, for logs"),
    ] = False,
) -> None:
    """Watch a run in the terminal: the verdict, curves, heatmap, layers and alerts.

    Exit code with --once and --plain: 0 healthy, 1 warnings, 2 errors, 3 unreadable or nothing checked.
    """
    from heldout.guard import Guard, guarding, look_once
    from heldout.views.terminal import ascii
    from heldout.views.terminal import watch as view

    def tell(line: str) -> None:
        print(line, flush=True)

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors=ascii.register())  # for another encoding than UTF-8
    if once:
        look_once(run)
        code = (
            view.plain(run, tell, as_recorded, None) if plain_ else view.once(run, out, as_recorded)
        )
        raise typer.Exit(code)
    with guarding(Guard(run)):
        if plain_:
            raise typer.Exit(view.plain(run, tell, as_recorded, sleep))
        view.watch(run, out, as_recorded)


@app.command()
def guard(
    runs: Annotated[Path, typer.Argument(help="Folder of runs, or one run")] = Path("runs"),
    once: Annotated[
        bool, typer.Option("--once", help="Look once and end, as cron needs it")
    ] = False,
    notify_: Notify = None,
) -> None:
    """Tell of trainers that died or hang, without a page and with no trainer alive to say so.

    Exit code with --once: 0 all alive or ended, 1 one is stalled, 2 one died, 3 unreadable.
    """
    from threading import Event

    from heldout.guard import Guard, Watched

    if not runs.exists():
        raise HeldoutError(f"{runs}: no such folder")
    notifier = _notifier(notify_ or [])
    guard_ = Guard(runs, notifier)
    if not once:

        def told(run: Watched, verdict: Verdict) -> None:
            said = f"{run.folder.name}: {verdict.state}: {verdict.message}"
            out.print(plain(said if verdict.state == "resolved" else f"{said} -> {verdict.action}"))

        guard_.follow(Event(), told)
    guard_.look()
    guard_.remember()
    for run in guard_.runs.values():
        if not run.pulse.history.ended:
            out.print(plain(run.describe()))
        if run.active:
            out.print(plain(f"  {run.active.action}"))
    if notifier:
        notifier.drain(DRAIN_SECONDS)
    raise typer.Exit(max((EXIT_CODES[each.level] for each in guard_.active), default=0))


@app.command()
def notify(
    urls: Annotated[
        list[str] | None, typer.Argument(help="Apprise URLs; default: $HELDOUT_NOTIFY_URLS")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the message instead of sending it")
    ] = False,
) -> None:
    """Send a test message to each address. Exit code: 0 all sent, 1 one was not, 3 unusable."""
    from heldout.views.notify.channel import channels
    from heldout.views.notify.message import TEST

    options = _notify_options(urls or [], dry_run)
    if not options.wanted:
        raise ConfigError("no address: name one, or set HELDOUT_NOTIFY_URLS='[slack://...]'")
    failed = False
    for name, send in channels(options):
        sent = send(TEST)
        failed |= not sent
        if not options.dry_run:
            out.print(plain(f"{name}: {'sent' if sent else 'could not be sent'}"))
    raise typer.Exit(int(failed))


@app.command("report")
def report_(
    run: Annotated[Path, typer.Argument(help=RUN)],
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON")] = False,
    html: Annotated[
        Path | None,
        typer.Option(help="Write the page of the run as one file that needs no server or network"),
    ] = None,
    md: Annotated[
        bool, typer.Option("--md", help="Print Markdown, for a model card or a pull request")
    ] = False,
    examples_: Annotated[
        bool,
        typer.Option("--examples", help="Put the Examples page, with its texts, into the file"),
    ] = False,
) -> None:
    """Print the verdict on a run.

    Exit code: 0 healthy, 1 warnings, 2 errors, 3 unreadable or nothing in it that could be checked.
    """
    found = as_recorded(run)
    name = found.history.run.id if found.history.run else run.name
    if html is not None:
        from heldout.store.foreign import is_journal
        from heldout.views.report.html import html_report

        beside = open_run(run).parent if examples_ and is_journal(run) else None
        _write(html, html_report(name, found.history, time(), examples_from=beside).encode())
    if md:
        from heldout.views.report.markdown import markdown_report

        sys.stdout.write(markdown_report(name, found.history, past_alerts(found.records)))
        raise typer.Exit(exit_code(found.history))
    if html is not None and not json:
        out.print(plain(f"{html}: written"))
        raise typer.Exit(exit_code(found.history))
    _show(found, json)


@app.command()
def judge(
    paths: Annotated[list[Path], typer.Argument(help=f"{RUN}; several make a table")],
    rules: Annotated[
        Path | None, typer.Option(help="Python file of your own rules to judge by as well")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON")] = False,
) -> None:
    """Judge stored runs again, or other tools' logs, by today's rules; nothing is written.

    Exit code, of several runs the worst: 0 healthy, 1 warnings, 2 errors, 3 unreadable or nothing in it
    that could be checked. An alert that is over at the end of the run is listed and not counted.
    """
    from heldout.replay import rejudge
    from heldout.rules import load_rules

    more = load_rules(rules) if rules else []
    if len(paths) == 1:
        _show(rejudge(paths[0], more), json)
    _show_many(paths, more, json)


def _setting(name: str) -> Any:
    """The option for a setting, called like its last part, explained and bounded by its table."""
    setting = BY_NAME[name]
    flag = "--model" if name == "model.name" else f"--{name.split('.')[1].replace('_', '-')}"
    number = {int, float} & set(setting.types) and str not in setting.types
    return typer.Option(flag, help=setting.help, min=setting.minimum if number else None)


@app.command()
def evaluate(
    data: Annotated[Path, _setting("eval.data")],
    model: Annotated[str | None, _setting("model.name")] = None,
    adapter: Annotated[
        list[Path] | None, typer.Option(help="Folder of a LoRA adapter on the model; repeatable")
    ] = None,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder with checkpoint-N folders, or a run's folder")
    ] = None,
    base: Annotated[
        bool, typer.Option("--base", help="Also score the model without an adapter, as step 0")
    ] = False,
    dtype: Annotated[str | None, _setting("model.dtype")] = None,
    gguf_file: Annotated[str | None, _setting("model.gguf_file")] = None,
    max_samples: Annotated[int, _setting("eval.max_samples")] = default("eval.max_samples"),
    prompt_key: Annotated[str | None, _setting("eval.prompt_key")] = None,
    response_key: Annotated[str | None, _setting("eval.response_key")] = None,
    group_key: Annotated[str | None, _setting("eval.group_key")] = None,
    turns: Annotated[str, _setting("eval.turns")] = default("eval.turns"),
    max_tokens: Annotated[int | None, _setting("eval.max_tokens")] = None,
    normalize_case: Annotated[bool, _setting("eval.normalize_case")] = False,
    normalize_whitespace: Annotated[bool, _setting("eval.normalize_whitespace")] = False,
    extract: Annotated[str | None, _setting("eval.extract")] = None,
    max_new_tokens: Annotated[int | None, _setting("eval.max_new_tokens")] = None,
    full_text: Annotated[bool, _setting("eval.full_text")] = False,
    ece_bins: Annotated[str, _setting("eval.ece_bins")] = default("eval.ece_bins"),
    margin: Annotated[str, _setting("eval.margin")] = default("eval.margin"),
    threads: Annotated[int | None, _setting("train.threads")] = None,
    device: Annotated[
        str | None, typer.Option(help="Where to compute; default: cuda if there is one, else cpu")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="File of scores; default: evaluation.jsonl in the run, else here"),
    ] = None,
    merge_report: Annotated[
        Path | None, typer.Option(help="Print this run's report with the scores merged in")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Score one or many checkpoints on a fixed held-out set, and say which to keep.

    What is done is kept in a file, so the same command continues where it was interrupted. Under
    `accelerate launch -m heldout evaluate ...` the processes share the work.
    """
    _quiet()
    with err.status("loading"):
        from heldout.train.asked import asked
        from heldout.train.processes import agreed, processes
    given = {
        "eval.data": str(data),
        "model.name": model,
        "model.dtype": dtype,
        "model.gguf_file": gguf_file,
        "eval.max_samples": max_samples,
        "eval.prompt_key": prompt_key,
        "eval.response_key": response_key,
        "eval.group_key": group_key,
        "eval.turns": turns,
        "eval.max_tokens": max_tokens,
        "eval.normalize_case": normalize_case,
        "eval.normalize_whitespace": normalize_whitespace,
        "eval.extract": extract,
        "eval.max_new_tokens": max_new_tokens,
        "eval.full_text": full_text,
        "eval.ece_bins": ece_bins,
        "eval.margin": margin,
        "train.threads": threads,
    }
    with processes(device) as (ranks, place):
        try:
            wanted = agreed(
                ranks,
                lambda: asked(
                    _complete(given), adapter or [], checkpoints, base, output, merge_report
                ),
            )
            scores = _score(wanted, ranks, place)
        except HeldoutError:
            if ranks.main:
                raise
            return  # every process has this error, and the main one says it
        if ranks.main:
            _print_scores(scores, merge_report, json)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder, journal, or folder of runs (latest)")],
    format_: Annotated[str, typer.Option("--as", help=f"One of: {', '.join(EXPORTERS)}")] = "csv",
    output: Annotated[
        Path | None, typer.Option(help="File to write; default: standard output")
    ] = None,
) -> None:
    """Write a run in another format: all numbers, the layers, or the rows to look at first."""
    exporter = EXPORTERS.get(format_)
    if exporter is None:
        known = list(EXPORTERS)
        raise ConfigError(
            f"--as must be one of {', '.join(known)}, found {format_!r}.{nearest(format_, known)}"
        )
    data = exporter.write(as_recorded(run).history)
    if output is None:
        sys.stdout.buffer.write(data)
        return
    _write(output, data)


@app.command()
def check(
    source: Annotated[
        Path, typer.Argument(help="Config (YAML) of a run, or a training set (JSONL)")
    ],
    data: Annotated[Path | None, typer.Option("--eval", help="Fixed held-out set, JSONL")] = None,
    model: Annotated[str | None, _setting("model.name")] = None,
    gguf_file: Annotated[str | None, _setting("model.gguf_file")] = None,
    max_length: Annotated[int, _setting("train.max_length")] = default("train.max_length"),
    prompt_key: Annotated[str | None, _setting("data.prompt_key")] = None,
    response_key: Annotated[str | None, _setting("data.response_key")] = None,
    rows: Annotated[int, _setting("check.rows")] = default("check.rows"),
    set_: Sets = None,
    time: Annotated[
        bool, typer.Option("--time", help="Load the model and time an evaluation by a few examples")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object")] = False,
) -> None:
    """Look through the data before training: labels, ends, templates, leakage, lengths, costs.

    With a config its settings hold and only --set changes them; with a training set the options do.
    Without a model everything that needs no tokenizer is looked at. Exit code: 0 healthy, 1 warnings, 2
    errors, 3 unreadable.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")  # no process is forked here
    _quiet()
    given = {
        "data.train": str(source),
        "eval.data": str(data) if data else None,
        "model.name": model,
        "model.gguf_file": gguf_file,
        "train.max_length": max_length,
        "data.prompt_key": prompt_key,
        "data.response_key": response_key,
        "check.rows": rows,
    }
    is_run = source.suffix.lower() in (".yaml", ".yml")
    if is_run:
        given.pop("data.train")
        stray = [name for name, value in given.items() if value not in (None, default(name))]
        if stray:
            raise ConfigError(f"{source} is a config: change it by --set {stray[0]}=...")
    with err.status("reading the data"):
        from heldout.train.preflight import check as look
        from heldout.views.report.preflight import preflight_data, preflight_exit_code
        from heldout.views.terminal.preflight import preflight_view

        wanted = _settings(source, set_ or []) if is_run else _complete(given)
        _check_rules(wanted)
        found = look(wanted, time, sized=is_run)
    if json:
        sys.stdout.write(encode(preflight_data(found)).decode() + "\n")
    else:
        console = Console(width=None if out.is_terminal else PIPE_WIDTH, highlight=False)
        console.print(preflight_view(found, console))
    raise typer.Exit(preflight_exit_code(found))


@app.command()
def settings() -> None:
    """List every setting with its default."""
    from rich.table import Table

    from heldout.config import REQUIRED

    table = Table("key", "default", "what it does", box=None)
    for setting in SETTINGS:
        shown = "(required)" if setting.default is REQUIRED else str(setting.default)
        table.add_row(setting.name, plain(shown), plain(setting.help))
    Console().print(table)


def main() -> None:
    """Run the command line; an error of ours is one message and exit code 3, not a traceback.

    A mistake of ours is exit code 3 as well where 1 is a verdict; its traceback follows the message.
    """
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except Exception as error:
        text = _said(error)
        if not text and sys.argv[1:2] not in [[command] for command in VERDICTS]:
            raise
        unexpected = (
            f"unexpected error: {type(error).__name__}: {error}. Please report it with this:"
        )
        err.print(f"[bold red]error:[/] {plain(text or unexpected)}")
        if not text:
            traceback.print_exception(error)
        raise SystemExit(UNREADABLE) from None


def _said(error: Exception) -> str:
    """What an error that is no mistake of ours says; "" for one that is."""
    if isinstance(error, HeldoutError):
        return str(error)
    package = error.name if isinstance(error, ModuleNotFoundError) and error.name else "heldout"
    if package.split(".")[0] == "heldout":
        return ""
    return (
        f"this command needs the package {package}. Install it with: pip install 'heldout[train]'"
    )


def examples() -> Path:
    """The folder of example configs and data: inside the package, or beside it in a checkout."""
    inside = Path(__file__).parent / "examples"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "examples"


def _settings(config: Path, overrides: list[str]) -> dict[str, object]:
    """Load a config; its data files are meant relative to it.

    Raises `ConfigError` with every mistake in it and, with those, in the file of rules that it names.
    """
    try:
        found = load(config, overrides)
    except ConfigError as error:
        from heldout.rules import mistakes_in_file_of

        wrong = mistakes_in_file_of(config, overrides)
        raise ConfigError("\n".join([str(error), *wrong])) from None
    for name in ("data.train", "eval.data"):
        found[name] = str(config.parent / str(found[name]))
    if found["alerts.file"] is not None:
        found["alerts.file"] = str(config.parent / str(found["alerts.file"]))
    return found


def _check_rules(settings: Mapping[str, object]) -> None:
    """Load the file of rules that a run's settings name; raises `ConfigError` if it cannot be used."""
    from heldout.rules import load_rules

    if settings["alerts.file"] is not None:
        load_rules(Path(str(settings["alerts.file"])), {"rules": settings["alerts.rules"]})


def _notify_options(urls: list[str], dry_run: bool = False) -> NotifyOptions:
    """What the command line says of notifications, else the environment."""
    from heldout.views.notify.options import NotifyOptions

    found = in_environment(("notify",), defaults=True)
    given = {"notify.urls": urls or found["notify.urls"]}
    return NotifyOptions.of(
        {**found, **given, "notify.dry_run": dry_run or found["notify.dry_run"]}
    )


def _notifier(urls: list[str]) -> Notifier | None:
    from heldout.views.notify.notifier import Notifier

    options = _notify_options(urls)
    return Notifier(options) if options.wanted else None


def _as_sets(overrides: Sequence[str]) -> list[str]:
    """The options that override settings, less the run's name."""
    kept = [each for each in overrides if not each.startswith("output.run=")]
    return [part for each in kept for part in ("--set", each)]


def _train(settings: dict[str, object], command: Sequence[str]) -> Path:
    """Train and print the verdict; also where the training is cut short, with how to go on.

    `command` is what the user typed; with the run's name it continues this run.
    """
    _quiet()
    with out.status("loading the model and the data"):
        from heldout.train.run import train as run_training
    from heldout.views.terminal.progress import TrainingProgress

    runs = Path(str(settings["output.runs"]))
    name = settings["output.run"] = str(settings["output.run"] or new_run(runs))
    resume = shlex.join([*command, "--set", f"output.run={name}"])
    journal = runs / name / JOURNAL
    before = journal.stat().st_size if journal.exists() else 0
    try:
        with TrainingProgress(out) as progress:
            folder = run_training(settings, [progress], resume)
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, HeldoutError) or not journal.exists():
            raise
        if journal.stat().st_size == before:
            raise
        by_hand = isinstance(error, KeyboardInterrupt)
        if not by_hand:
            traceback.print_exception(error)
        out.print()
        _print_verdict(History.of(read(journal)[0]))
        raise typer.Exit(130 if by_hand else 1) from None
    out.print()
    _print_verdict(History.of(read(open_run(folder))[0]))
    return folder


def _complete(given: dict[str, Any]) -> dict[str, Any]:
    """All settings: those given on the command line, checked as a config's, else the defaults."""
    checks = [(name, BY_NAME[name].check, value) for name, value in given.items()]
    mistakes = [check(name, value) for name, check, value in checks if check]
    if any(mistakes):
        raise ConfigError("\n".join(filter(None, mistakes)))
    return {setting.name: setting.default for setting in SETTINGS} | given


def _score(wanted: Asked, ranks: Ranks, place: torch.device) -> Scores:
    """Score what is wanted; only the main process shows how far it is."""
    from heldout.train.score_checkpoints import Told, score_checkpoints
    from heldout.views.terminal.evaluation import EvaluationProgress

    console = err if ranks.main else Console(quiet=True)
    with EvaluationProgress(console) as bar:

        def done(name: str, outcome: Outcome) -> None:
            if isinstance(outcome, str):
                bar.done(name, outcome)
            else:
                bar.done(name, outcome.result, str(wanted.output) if outcome.reused else "")

        told = Told(begun=bar.begun, scored=bar.scored, done=done)
        return score_checkpoints(wanted.weights, wanted.settings, wanted.output, ranks, place, told)


def _print_scores(scores: Scores, merge_report: Path | None, json: bool) -> None:
    """Print the table and the verdict, or one JSON object with all of it."""
    from heldout.derive.comparison import compare
    from heldout.train.asked import merged
    from heldout.views.report.comparison import comparison_data, comparison_lines, set_lines
    from heldout.views.terminal.evaluation import comparison_table

    history = scores.history
    found = compare(history)
    assert found is not None
    reused = [each.name for each in scores.evaluations if each.reused]
    run, said = merged(merge_report, scores) if merge_report else (None, [])
    if json:
        facts = comparison_data(
            history, found, scores.failed, reused, scores.remarks, scores.stepped
        )
        if run is not None:
            facts |= {"merged": said, "report": report(run)}
        sys.stdout.write(encode(facts).decode() + "\n")
        return
    for line in set_lines(history, scores.remarks):
        out.print(plain(line))
    width = out.width if out.is_terminal else PIPE_WIDTH
    table = comparison_table(found, list(scores.failed), width)
    Console(width=width, highlight=False).print(table)
    for line in comparison_lines(found, scores.failed, scores.stepped):
        out.print(plain(line), style="bold" if line.startswith("->") else "")
    if run is not None:
        out.print()
        for line in said:
            out.print(plain(line), style="yellow" if line.startswith("WARNING") else "")
        _print_verdict(run)


def _write(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise HeldoutError(f"{path}: cannot be written: {error.strerror or error}") from error


def _show(found: Replay, json: bool) -> NoReturn:
    """Print the verdict on one run and leave with its exit code."""
    past = past_alerts(found.records)
    if json:
        sys.stdout.write(encode(report(found.history, past)).decode() + "\n")
    else:
        _print_verdict(found.history, past)
    raise typer.Exit(exit_code(found.history))


def _show_many(paths: list[Path], more: list[Rule[Any]], json: bool) -> NoReturn:
    """Print a row for each run, or one JSON object with all, and leave with the worst exit code."""
    from heldout.replay import rejudge
    from heldout.views.report.overview import Row, row, short_names
    from heldout.views.terminal.runs import runs_table

    rows: list[Row] = []
    reports: list[dict[str, Any]] = []
    names = short_names(paths)
    for path, name in zip(paths, names, strict=True):
        try:
            found = rejudge(path, more)
        except HeldoutError as error:
            rows.append(Row(name, UNREADABLE))
            reports.append({"path": str(path), "exit_code": UNREADABLE, "error": str(error)})
            continue
        past = past_alerts(found.records)
        rows.append(row(name, found.history, past))
        code = rows[-1].code
        reports.append({"path": str(path), "exit_code": code, **report(found.history, past)})
    if json:
        sys.stdout.write(encode({"schema": SCHEMA, "runs": reports}).decode() + "\n")
    else:
        width = out.width if out.is_terminal else PIPE_WIDTH
        Console(width=width, highlight=False).print(runs_table(rows))
        for each in reports:
            if "error" in each:
                out.print(f"[bold red]error:[/] {plain(each['error'])}")
    raise typer.Exit(max(row.code for row in rows))


def _print_verdict(history: History, past: Sequence[Past] = ()) -> None:
    for line in verdict_lines(history, past):
        style = "bold" if line.startswith("ACTION:") else ""
        out.print(plain(line), style=style)


def _quiet() -> None:
    """Leave the terminal to the run: no bars and no advice from the libraries underneath."""
    os.environ.setdefault("TQDM_DISABLE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for package in ("transformers", "peft", "trl", "torch", "accelerate"):
        warnings.filterwarnings("ignore", module=package)


def _open(url: str) -> bool:
    """Open a graphical browser where there is one; False where there is none."""
    import webbrowser

    return _is_graphical() and webbrowser.open(url)


def _open_with(journal: Path, url: str) -> None:
    """Open a browser as soon as a run has begun: before that its page has nothing to show."""
    from threading import Thread

    def wait() -> None:
        while not journal.exists():
            sleep(0.2)
        _open(url)

    Thread(target=wait, daemon=True).start()


def _is_graphical() -> bool:
    return sys.platform in ("darwin", "win32") or any(
        name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )


def _wait() -> None:
    import threading

    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
