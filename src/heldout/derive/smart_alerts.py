"""The mission's alerts from a plain status dictionary, for loops that keep no journal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any


def generate_smart_alerts(data: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return `{level, message, action}` for what a status dictionary shows to be wrong.

    Looks at `loss` and `streaming_ce` (NaN or infinite: critical), and at `em_trend` and `ece_rise`
    in `fixed_eval` (warnings; a model that is less sure than it is right gets an info). Missing fields
    raise nothing. Inside a watched run the rules of `heldout.verdicts.rules` do this with evidence and
    a lifecycle.
    """
    alerts: list[dict[str, str]] = []
    fixed_eval = data.get("fixed_eval") or {}
    best = fixed_eval.get("best_ckpt") or "unknown"
    losses = [data[key] for key in ("loss", "streaming_ce") if data.get(key) is not None]
    if any(not math.isfinite(float(loss)) for loss in losses):
        alerts.append(
            {
                "level": "critical",
                "message": "Loss is NaN/Inf: training diverged",
                "action": "Stop immediately. Reduce the learning rate by 10x and restart from "
                "the last checkpoint.",
            }
        )
    if fixed_eval.get("em_trend") == "plateau":
        alerts.append(
            {
                "level": "warning",
                "message": "EM plateau: diminishing returns",
                "action": f"Consider stopping. Best checkpoint: {best}",
            }
        )
    if fixed_eval.get("ece_rise"):
        alerts.append(_drift(fixed_eval.get("confidence_gap")))
    return alerts


def _drift(gap: float | None) -> dict[str, str]:
    """A risen calibration error; `gap` is confidence less accuracy, None where it is not known."""
    if gap is not None and not gap > 0:
        return {
            "level": "info",
            "message": "Calibration drift: the model is underconfident",
            "action": "Fit a temperature after training if somebody thresholds on its confidence.",
        }
    leaning = (
        "the model is becoming overconfident" if gap else "confidence and accuracy drift apart"
    )
    return {
        "level": "warning",
        "message": f"Calibration drift: {leaning}",
        "action": "Run a finishing pass with a lower LR (0.5x current) or use EMA weights.",
    }
