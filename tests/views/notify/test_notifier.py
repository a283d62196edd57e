"""Which records become notifications, and that no server can hold up what calls."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import facts
import pytest
from receiver import Receiver

from heldout.derive.history import History
from heldout.records import AnyRecord, Decision, Level, State, Verdict
from heldout.verdicts.judge import Judge
from heldout.views.notify.channel import kind
from heldout.views.notify.notifier import Notifier
from heldout.views.notify.options import NotifyOptions
from heldout.views.notify.outbox import Pace

QUICK = Pace(gather=0.0, pause=0.0, retries=(0.0, 0.0, 0.0))
HISTORY = facts.history(facts.run(), *facts.losses([1.0, 1.0]))


def verdict(state: State, level: Level = "error", step: int = 2, **changes: Any) -> Verdict:
    fields: dict[str, Any] = {"rule": "loss-spike", "message": "it jumped", "action": "Look."}
    return Verdict(step=step, time=facts.at(step), state=state, level=level, **fields | changes)


def notifier(receiver: Receiver, pace: Pace = QUICK, **options: Any) -> Notifier:
    return Notifier(NotifyOptions(urls=[receiver.address()], **options), pace)


def told(receiver: Receiver, records: Sequence[AnyRecord], **options: Any) -> list[str]:
    """The titles that arrive when records come one by one."""
    listener = notifier(receiver, **options)
    for record in records:
        listener([record], HISTORY)
        listener.drain(20)
    return [message["title"] for message in receiver.messages]


def test_each_transition_of_an_alert_is_told_once(receiver: Receiver) -> None:
    records = [
        verdict("pending"),
        verdict("open", "warning"),
        verdict("escalated", "critical"),
        verdict("resolved", "critical"),
        verdict("closed", "critical"),
        verdict("no-data"),
        verdict("error"),
    ]
    assert told(receiver, records) == [
        "[warning] r: loss-spike opened at step 2 of 100",
        "[critical] r: loss-spike escalated at step 2 of 100",
        "[info] r: loss-spike resolved at step 2 of 100",
    ]
    assert [message["type"] for message in receiver.messages] == ["warning", "failure", "info"]


def test_what_is_below_the_level_is_not_told_nor_its_end(receiver: Receiver) -> None:
    records = [
        verdict("open", "warning", rule="a"),
        verdict("open", "info", rule="b"),
        verdict("resolved", "warning", rule="a"),
        verdict("open", "error", rule="c", scope="math"),
        verdict("resolved", "error", rule="c", scope="code"),
        verdict("resolved", "error", rule="c", scope="math"),
        verdict("resolved", "error", rule="c", scope="math"),
    ]
    assert told(receiver, records, level="error") == [
        "[error] r: c (math) opened at step 2 of 100",
        "[info] r: c (math) resolved at step 2 of 100",
    ]


def test_an_alert_that_rises_to_the_level_is_told_with_its_end(receiver: Receiver) -> None:
    records = [verdict("open", "info"), verdict("escalated", "error"), verdict("resolved", "error")]
    assert len(told(receiver, records)) == 2


def test_an_opening_told_by_another_process_has_its_end_told(receiver: Receiver) -> None:
    listener = notifier(receiver)
    listener.remember(HISTORY, verdict("open"))
    listener([verdict("resolved")], HISTORY)
    listener.drain(20)
    assert [message["title"] for message in receiver.messages] == [
        "[info] r: loss-spike resolved at step 2 of 100"
    ]


def test_a_resumed_run_tells_of_the_end_of_what_the_process_before_it_told(
    receiver: Receiver,
) -> None:
    history = facts.history(
        facts.run(),
        *facts.losses([1.0, 1.0]),
        verdict("open"),
        verdict("escalated", "critical"),
        verdict("open", "info", rule="quiet"),
        verdict("pending", rule="waiting"),
        verdict("open", rule="over"),
        verdict("resolved", rule="over"),
        verdict("open", rule="standing"),
    )
    listener = notifier(receiver)
    # what is over as soon as it resumes stands in one batch with the run's start
    first = [facts.run(step=2), verdict("resolved", "critical"), verdict("resolved", rule="new")]
    later = [
        verdict("resolved", "info", rule="quiet"),
        verdict("resolved", rule="waiting"),
        verdict("resolved", rule="over"),
        verdict("resolved", rule="standing"),
    ]
    for records in [first, later]:
        for record in records:
            history.add(record)
        listener(records, history)
        listener.drain(20)
    assert [message["title"] for message in receiver.messages] == [
        "[info] r: loss-spike resolved at step 2 of 100",
        "[info] r: standing resolved at step 2 of 100",
    ]


def test_a_run_that_starts_over_owes_no_end(receiver: Receiver) -> None:
    history = facts.history(facts.run(), *facts.losses([1.0]), verdict("open"))
    listener = notifier(receiver)
    again = [facts.run(), verdict("resolved")]
    for record in again:
        history.add(record)
    listener(again, history)
    listener.drain(20)
    assert receiver.messages == []


@pytest.mark.parametrize(
    ("topic", "text", "level"),
    [("finished", "", "info"), ("failed", "CUDA out of memory", "error")],
)
def test_the_end_is_one_message_with_the_decision(
    receiver: Receiver, topic: str, text: str, level: str
) -> None:
    decision = Decision(
        step=2,
        time=1.0,
        action="stop",
        checkpoint="checkpoint-1",
        tied=[],
        reason="EM 50 % is flat",
    )
    end = facts.note(2, topic, text)
    history = facts.history(facts.run(), *facts.losses([1.0, 1.0]), end, decision)
    listener = notifier(receiver, level="critical")
    listener([end, decision], history)
    listener([facts.note(2, "resume", "not an end")], history)
    listener.drain(20)
    (message,) = receiver.messages
    assert message["title"] == f"[{level}] r: {topic} at step 2 of 100"
    assert "Stop training. Use checkpoint-1. EM 50 % is flat" in message["message"]
    assert text in message["message"]


def test_a_message_names_run_rule_level_evidence_action_and_page(receiver: Receiver) -> None:
    listener = notifier(receiver, link="http://dash:8765")
    listener([verdict("open", evidence={"loss": 3.5})], HISTORY)
    listener.drain(20)
    body = receiver.messages[0]["message"]
    for part in ("ERROR loss-spike", "it jumped", "Look.", "loss 3.5", "http://dash:8765/run/r"):
        assert part in body


def test_a_run_judged_live_tells_of_what_its_journal_holds(receiver: Receiver) -> None:
    judge, listener = Judge(), notifier(receiver)
    for fact in [facts.run(), *facts.losses([1.0, 1.0, float("nan")])]:
        listener([fact, *judge.feed(fact)], judge.history)
        listener.drain(20)
    assert [m["title"] for m in receiver.messages] == [
        "[critical] r: loss-not-finite opened at step 3 of 100"
    ]


def test_a_server_that_is_down_fails_or_slow_holds_up_nobody(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.release.clear()  # no answer before the end of this test
    urls = [receiver.address(), "json://127.0.0.1:1/secret"]
    listener = Notifier(NotifyOptions(urls=urls), QUICK)
    listener([verdict("open", step=0)], HISTORY)
    receiver.wait(1)
    for step in range(1, 2000):  # steps of a training loop: each returns at once
        listener([verdict("open" if step % 2 else "resolved", step=step)], HISTORY)
    assert len(receiver.messages) == 1, "still waiting for the answer to the first"
    receiver.release.set()
    listener.drain(20)
    later = receiver.messages[1]["message"]
    assert "earlier changes could not be sent" in later
    listener.close(20)
    assert "address 2 (json://) could not be sent" in caplog.text
    assert "secret" not in caplog.text


def test_one_address_that_fails_keeps_nothing_from_another(receiver: Receiver) -> None:
    slow = Pace(gather=0.0, pause=0.0, retries=(600.0,))
    urls = ["json://127.0.0.1:1/x", receiver.address()]
    listener = Notifier(NotifyOptions(urls=urls), slow)
    listener([verdict("open")], HISTORY)
    receiver.wait(1)
    listener([verdict("resolved")], HISTORY)
    receiver.wait(1)
    assert len(receiver.messages) == 2
    listener.close(20)


def test_a_server_error_is_tried_again_and_the_message_arrives_once(receiver: Receiver) -> None:
    receiver.answers = [500, 503]
    listener = notifier(receiver)
    listener([verdict("open")], HISTORY)
    listener.drain(20)
    assert len(receiver.messages) == 1


def test_a_slow_answer_is_waited_for_and_nothing_is_sent_twice(receiver: Receiver) -> None:
    listener = notifier(receiver)
    for outbox in listener._outboxes:
        assert outbox.name == f"address 1 ({kind('json://')})"
    receiver.release.clear()
    listener([verdict("open")], HISTORY)
    receiver.wait(1)
    assert not receiver.arrived.acquire(timeout=6), "Apprise's own limit is 4 seconds"
    receiver.release.set()
    listener.drain(20)
    assert len(receiver.messages) == 1


def test_hostile_text_arrives_harmless(receiver: Receiver) -> None:
    text = "\x1b[31m\u202e<!channel> @everyone \ud800 <script>"
    history = facts.history(facts.run(id=text))
    listener = notifier(receiver)
    listener([verdict("open", message=text, scope=text, evidence={text: [text]})], history)
    listener.drain(20)
    (message,) = receiver.messages
    shown = message["title"] + message["message"]
    for bad in ("\x1b", "\u202e", "<!", "@e", "<s", "\ud800"):
        assert bad not in shown


def test_nothing_is_logged_while_all_goes_well(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    listener = notifier(receiver)
    listener([verdict("open")], History())
    listener.drain(20)
    assert receiver.messages[0]["title"].startswith("[error] a run: ")
    assert [record for record in caplog.records if record.name == "heldout"] == []
