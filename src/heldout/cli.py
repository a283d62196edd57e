"""The `heldout` command. Thin: each command calls one function and prints what it returns."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from heldout.config import SETTINGS, load
from heldout.derive.history import History
from heldout.errors import HeldoutError
from heldout.records import encode
from heldout.store.journal import read
from heldout.store.runs import open_run
from heldout.views.report.data import exit_code, report
from heldout.views.report.text import verdict_lines
from heldout.views.terminal.plain import plain

UNREADABLE = 3
PORT = 8765

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
