"""The read side works where no training library is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = """
import pkgutil, sys
from importlib import import_module
from pathlib import Path

BLOCKED = {"torch", "transformers", "peft", "trl", "datasets", "accelerate", "psutil", "apprise"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())

def fail(name):
    raise

import heldout
for part in ("store", "derive", "stats", "verdicts", "views"):
    package = import_module(f"heldout.{part}")
    for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=fail):
        import_module(info.name)

from facts import checkpoint, evaluation, run, sample, score
from heldout.derive.history import History
from heldout.store.journal import Journal, read
from heldout.verdicts.judge import judge
from heldout.views.export import EXPORTERS
from heldout.views.snapshot import snapshot
from heldout.records import encode

path = Path(sys.argv[1]) / "journal.jsonl"
journal = Journal(path)
journal.append([run(), *evaluation(0, score(20)), sample(1), *evaluation(1, score(60))])
journal.append([checkpoint(1), sample(2, float("nan"))])
journal.close()
facts, _ = read(path)
history = History()
for fact in [*facts, *judge(facts)]:
    history.add(fact)
assert history.decision.action == "roll-back", history.decision
encode(snapshot(history))
for exporter in EXPORTERS.values():
    assert exporter.write(history) or exporter.name == "rows"
try:
    heldout.Monitor
except ModuleNotFoundError as error:
    print(error)
assert not BLOCKED & set(sys.modules)
"""


def test_everything_that_reads_works_without_torch_and_the_rest_says_what_to_install(
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path)]
    paths = {"PYTHONPATH": str(Path(__file__).parent), "PATH": ""}
    done = subprocess.run(command, env=paths, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "heldout.Monitor needs " in done.stdout
    assert "pip install 'heldout[train]'" in done.stdout
