from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny

from heldout.derive.history import History
from heldout.store.journal import read

TESTS = Path(__file__).parents[1]


def run(folder: Path, how: str) -> list[object]:
    folder.mkdir()
    tiny.write_jsonl(folder / "fixed_eval.jsonl", tiny.rows(30)[10:])
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, str(TESTS / "adapters" / "ddp_run.py"), str(folder), how],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
def test_under_ddp_the_main_process_watches_and_the_training_is_the_same(tmp_path: Path) -> None:
    assert run(tmp_path / "watched", "watched") == run(tmp_path / "alone", "alone")
    journal = tmp_path / "watched" / "runs" / "r" / "journal.jsonl"
    found = History.of(read(journal)[0])
    assert found.ended == "finished"
    assert [result.step for result in found.evals] == [0, 2, 4]
    assert [saved.step for saved in found.checkpoints] == [2, 4]
    assert len(found.columns.get("loss/step")) == 4
    assert not [note for note in found.notes if note.topic == "failure"]
