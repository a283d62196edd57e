from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import tiny

from heldout.derive.history import History
from heldout.store.journal import read
from heldout.store.runs import open_run

SCRIPT = Path(__file__).parents[2] / "examples" / "own_trainer.py"


def test_the_example_needs_two_lines_of_heldout() -> None:
    code = ast.unparse(ast.parse(SCRIPT.read_text()).body[1:])  # type: ignore[arg-type]
    assert sum("heldout" in line for line in code.splitlines()) == 2


def test_the_example_runs_as_it_stands(tmp_path: Path, tokenizer: Any) -> None:
    tiny.model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "model"), "4"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    history = History()
    for record in read(open_run(tmp_path / "runs"))[0]:
        history.add(record)
    assert history.ended == "finished"
    assert [result.step for result in history.evals] == [0, 4]
    assert len(history.columns.get("loss/step")) == 4
    assert len(history.layers[-1].layers) == 3
