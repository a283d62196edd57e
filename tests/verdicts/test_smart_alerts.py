"""The mission's alerts from a plain status dictionary."""

from __future__ import annotations

import math
from typing import Any

import pytest

from heldout.derive.smart_alerts import generate_smart_alerts


@pytest.mark.parametrize(
    ("data", "levels"),
    [
        ({}, []),
        ({"fixed_eval": None, "loss": None, "streaming_ce": None}, []),
        ({"loss": 0.8, "streaming_ce": 0.7, "fixed_eval": {"em_trend": "improving"}}, []),
        ({"loss": math.nan}, ["critical"]),
        ({"loss": math.inf}, ["critical"]),
        ({"loss": "NaN"}, ["critical"]),  # as status.json writes it
        ({"streaming_ce": math.nan}, ["critical"]),
        ({"loss": 0.5, "streaming_ce": -math.inf}, ["critical"]),
        ({"loss": math.nan, "streaming_ce": math.nan}, ["critical"]),
        ({"fixed_eval": {"em_trend": "plateau"}}, ["warning"]),
        ({"fixed_eval": {"em_trend": "regressing", "ece_rise": False}}, []),
        ({"fixed_eval": {"ece_rise": True}}, ["warning"]),
        (
            {"loss": math.nan, "fixed_eval": {"em_trend": "plateau", "ece_rise": True}},
            ["critical", "warning", "warning"],
        ),
    ],
)
def test_what_is_wrong_is_said_worst_first(data: dict[str, Any], levels: list[str]) -> None:
    alerts = generate_smart_alerts(data)
    assert [alert["level"] for alert in alerts] == levels
    assert all(alert.keys() == {"level", "message", "action"} for alert in alerts)
    assert all(alert["message"] and alert["action"] for alert in alerts)


def test_a_plateau_names_the_best_checkpoint() -> None:
    flat = {"em_trend": "plateau", "best_ckpt": "checkpoint-7"}
    (alert,) = generate_smart_alerts({"fixed_eval": flat})
    assert alert["action"] == "Consider stopping. Best checkpoint: checkpoint-7"
    (alert,) = generate_smart_alerts({"fixed_eval": {"em_trend": "plateau"}})
    assert "unknown" in alert["action"]
