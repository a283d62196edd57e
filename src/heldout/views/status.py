"""`status.json`: the contract's fields in one file, replaced atomically, at most once a second."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from heldout.derive.history import History
from heldout.derive.smart_alerts import generate_smart_alerts
from heldout.records import SCHEMA, encode
from heldout.views.snapshot import contract

FILE_NAME = "status.json"
SECONDS_BETWEEN = 1.0


class StatusFile:
    """Keeps `status.json` beside a journal current from a run's history."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = path
        self._clock = clock
        self._written = float("-inf")

    def update(self, history: History, *, now: bool = False) -> bool:
        """Write if a second has passed or `now`; True when the file was replaced."""
        if not now and self._clock() - self._written < SECONDS_BETWEEN:
            return False
        self._written = self._clock()
        head = {
            "schema": SCHEMA,
            "run": history.run.id if history.run else None,
            "state": history.state,
            "step": history.step,
            "total_steps": history.run.total_steps if history.run else None,
            "time": history.time,
        }
        return write_atomic(self.path, encode({**head, **contract(history)}))


class StatusWriter:
    """Writes `status.json` from values handed in, for loops that heldout does not watch.

    Each update replaces its section, refreshes `smart_alerts` and rewrites the file atomically. A
    full disk is not raised: the next update tries again. Prompts and answers stay out of the file,
    which others may read.
    """

    def __init__(self, path: str | os.PathLike[str] = FILE_NAME) -> None:
        self.path = Path(path)
        self.status: dict[str, Any] = {"schema": SCHEMA}

    def update_fixed_eval(self, results: Mapping[str, Any]) -> None:
        """Set `fixed_eval`, as `FixedEvalSet.evaluate` returns it, without its `items`."""
        self._set(fixed_eval={key: value for key, value in results.items() if key != "items"})

    def update_pattern_matrix(self, matrix: Mapping[str, Any]) -> None:
        """Set `bucket_matrix`, as `PatternTracker.get_matrix` returns it."""
        self._set(bucket_matrix=dict(matrix))

    def update_lora_deltas(self, deltas: Sequence[Mapping[str, Any]]) -> None:
        """Set `lora_layer_deltas`, as `compute_lora_deltas` returns them."""
        self._set(lora_layer_deltas=[dict(delta) for delta in deltas])

    def update_streaming_metrics(self, streaming_ce: float, current_entropy: float) -> None:
        """Set the smoothed cross-entropy and the token entropy, both in nats."""
        self._set(streaming_ce=streaming_ce, current_entropy=current_entropy)

    def update_throughput(self, throughput: Mapping[str, float]) -> None:
        """Set `throughput`."""
        self._set(throughput=dict(throughput))

    def update_loss(self, loss: float) -> None:
        """Set the latest training loss, which `smart_alerts` checks for NaN and infinity."""
        self._set(loss=loss)

    def generate_smart_alerts(self, data: Mapping[str, Any]) -> list[dict[str, str]]:
        """Return the alerts of a status dictionary (see `heldout.generate_smart_alerts`)."""
        return generate_smart_alerts(data)

    def _set(self, **fields: Any) -> None:
        self.status.update(fields)
        self.status["smart_alerts"] = self.generate_smart_alerts(self.status)
        write_atomic(self.path, encode(self.status))


def write_atomic(path: Path, data: bytes) -> bool:
    """Replace `path` by `data` so that a reader sees the old file or the new, never a part.

    Returns False when the disk refuses; the old file then stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        return False
    return True
