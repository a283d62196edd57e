"""What a run's alerts were before they were over."""

from __future__ import annotations

from facts import at, run

from heldout.records import Level, State, Verdict
from heldout.views.report.past import past_alerts, past_lines


def said(step: int, state: State, rule: str = "spike", level: Level = "warning") -> Verdict:
    return Verdict(
        step=step, time=at(step), rule=rule, state=state, level=level, message="up", action="Look."
    )


def test_only_what_was_open_and_is_no_more_is_past() -> None:
    records = [
        run(),
        said(1, "pending", "never"),
        said(2, "closed", "never"),
        said(1, "no-data", "blind"),
        said(3, "closed", "blind"),
        said(4, "open", "still"),
        said(5, "open"),
        said(6, "escalated", level="error"),
        said(9, "resolved", level="error"),
        said(10, "closed", level="error"),
    ]
    assert past_lines(past_alerts(records)) == ["was open: ERROR up (step 5 to 9)"]


def test_an_alert_that_came_again_is_one_line_with_its_last_time() -> None:
    twice = [said(5, "open"), said(9, "resolved"), said(20, "open"), said(1_030, "resolved")]
    assert past_lines(past_alerts(twice)) == [
        "was open: WARNING up (step 20 to 1,030, opened 2 times)"
    ]
    assert past_alerts([*twice, said(2_000, "open")]) == []
    assert past_alerts([*twice, run()]) == []
