"""The `heldout` command. Thin: each command calls one function and prints what it returns."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from heldout.config import BY_NAME, SETTINGS, default, load
from heldout.derive.history import History
from heldout.errors import ConfigError, HeldoutError
from heldout.records import encode
from heldout.store.journal import read
from heldout.store.runs import open_run
from heldout.views.report.data import exit_code, report
from heldout.views.report.text import verdict_lines
from heldout.views.terminal.plain import plain

if TYPE_CHECKING:
    import torch

    from heldout.evals.ranks import Ranks
    from heldout.train.asked import Asked
    from heldout.train.score_checkpoints import Outcome, Scores

UNREADABLE = 3
PORT = 8765
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


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="YAML file; `heldout settings` lists the keys")],
    set_: Sets = None,
) -> None:
    """Fine-tune as CONFIG says, watched and judged."""
    folder = _train(_settings(config, set_ or []))
    out.print(f"\nSee it: heldout ui {folder.parent}")


@app.command()
def demo(
    steps: Annotated[int, typer.Option(min=6, help="Optimizer steps")] = 84,
    port: Port = PORT,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser")] = True,
    set_: Sets = None,
) -> None:
    """Fine-tune a small real model on the shipped examples and show it live."""
    from heldout.views.page import page

    every = max(1, steps // 6)
    overrides = [f"train.steps={steps}", f"eval.every={every}", f"train.warmup_steps={steps // 12}"]
    settings = _settings(examples() / "demo.yaml", [*overrides, *(set_ or [])])
    with page(Path(str(settings["output.runs"])), port) as url:
        out.print(f"Live page: {url}\n")
        opened = browser and _open(url)
        _train(settings)
        if opened and sys.stdin.isatty():
            out.print(f"\nThe page stays at {url}. Press Ctrl-C to end.")
            _wait()
    out.print(f"\nSee it again: heldout ui {settings['output.runs']}")


@app.command()
def ui(
    runs: Annotated[Path, typer.Argument(help="Folder of runs, or one run")] = Path("runs"),
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Port = PORT,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser")] = True,
) -> None:
    """Serve the live page of a folder of runs."""
    from heldout.views.web.app import serve

    def ready(url: str) -> None:
        print(url, flush=True)
        if browser:
            _open(url)

    serve(runs, host, port, ready=ready)


@app.command("report")
def report_(
    run: Annotated[Path, typer.Argument(help="Run folder, journal, or folder of runs (latest)")],
    json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON")] = False,
) -> None:
    """Print the verdict on a run. Exit code: 0 healthy, 1 warnings, 2 errors, 3 unreadable."""
    try:
        records, _ = read(open_run(run))
    except OSError as error:
        raise HeldoutError(f"{run}: cannot be read: {error.strerror or error}") from error
    history = History.of(records)
    if json:
        sys.stdout.write(encode(report(history)).decode() + "\n")
    else:
        _print_verdict(history)
    raise typer.Exit(exit_code(history))


def _setting(name: str) -> Any:
    """The option for a setting, called like its last part, explained and bounded by its table."""
    setting = BY_NAME[name]
    flag = "--model" if name == "model.name" else f"--{name.split('.')[1].replace('_', '-')}"
    number = {int, float} & set(setting.types)
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
    turns: Annotated[str, _setting("eval.turns")] = default("eval.turns"),
    max_tokens: Annotated[int | None, _setting("eval.max_tokens")] = None,
    normalize_case: Annotated[bool, _setting("eval.normalize_case")] = False,
    normalize_whitespace: Annotated[bool, _setting("eval.normalize_whitespace")] = False,
    extract: Annotated[str | None, _setting("eval.extract")] = None,
    max_new_tokens: Annotated[int | None, _setting("eval.max_new_tokens")] = None,
    full_text: Annotated[bool, _setting("eval.full_text")] = False,
    ece_bins: Annotated[str, _setting("eval.ece_bins")] = default("eval.ece_bins"),
    margin: Annotated[float, _setting("eval.margin")] = default("eval.margin"),
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
    """Run the command line; an error of ours is one message and exit code 3, not a traceback."""
    try:
        app()
    except HeldoutError as error:
        err.print(f"[bold red]error:[/] {plain(str(error))}")
        raise SystemExit(UNREADABLE) from None
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] == "heldout":
            raise
        err.print(
            f"[bold red]error:[/] this command needs the package {error.name}. "
            "Install it with: pip install 'heldout\\[train]'"
        )
        raise SystemExit(UNREADABLE) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def examples() -> Path:
    """The folder of example configs and data: inside the package, or beside it in a checkout."""
    inside = Path(__file__).parent / "examples"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "examples"


def _settings(config: Path, overrides: list[str]) -> dict[str, object]:
    """Load a config; its data files are meant relative to it."""
    found = load(config, overrides)
    for name in ("data.train", "eval.data"):
        found[name] = str(config.parent / str(found[name]))
    return found


def _train(settings: dict[str, object]) -> Path:
    _quiet()
    with out.status("loading the model and the data"):
        from heldout.train.run import train as run_training
    from heldout.views.terminal.progress import TrainingProgress

    with TrainingProgress(out) as progress:
        folder = run_training(settings, [progress])
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


def _print_verdict(history: History) -> None:
    for line in verdict_lines(history):
        style = "bold" if line.startswith("->") else ""
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

    graphical = sys.platform in ("darwin", "win32") or any(
        name in os.environ for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
    return graphical and webbrowser.open(url)


def _wait() -> None:
    import threading

    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        return
