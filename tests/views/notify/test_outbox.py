"""The outbox: it never blocks, never floods, and gives up with a word."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from heldout.views.notify.message import Change, Message
from heldout.views.notify.outbox import CAPACITY, Outbox, Pace

QUICK = Pace(gather=0.0, pause=0.0, retries=(0.0, 0.0, 0.0))


def change(n: int) -> Change:
    return Change(run="r", level="error", head=str(n), text="")


def render(changes: Sequence[Change], untold: int) -> Message:
    heads = " ".join(change.head for change in changes)
    return Message(title=heads, body=str(untold), level="info")


class Channel:
    """Takes messages when it is open, and fails as often as it is told to."""

    def __init__(self, failures: int = 0, closed: bool = False) -> None:
        self.open = threading.Event()
        if not closed:
            self.open.set()
        self.began = threading.Event()
        self.failures = failures
        self.tried: list[Message] = []
        self.sent: list[Message] = []

    def __call__(self, message: Message) -> bool:
        self.began.set()
        assert self.open.wait(20)
        self.tried.append(message)
        if self.failures:
            self.failures -= 1
            return False
        self.sent.append(message)
        return True

    @property
    def titles(self) -> list[str]:
        return [message.title for message in self.sent]


def test_what_waits_while_a_message_is_sent_becomes_the_next_one() -> None:
    channel = Channel(closed=True)
    outbox = Outbox("x", channel, render, QUICK)
    outbox.put(change(0))
    assert channel.began.wait(20)
    for n in range(1, 4):
        outbox.put(change(n))
    channel.open.set()
    outbox.drain(20)
    assert channel.titles == ["0", "1 2 3"]
    outbox.put(change(4))
    outbox.drain(20)
    assert channel.titles[2:] == ["4"]


def test_a_burst_is_one_message() -> None:
    channel = Channel()
    outbox = Outbox("x", channel, render, Pace(gather=0.3, pause=0.0))
    for n in range(5):
        outbox.put(change(n))
    outbox.drain(20)
    assert channel.titles == ["0 1 2 3 4"]


def test_there_is_a_pause_between_messages() -> None:
    channel = Channel()
    outbox = Outbox("x", channel, render, Pace(gather=0.0, pause=600.0))
    outbox.put(change(0))
    outbox.drain(20)
    outbox.put(change(1))
    outbox.drain(0.05)
    assert channel.titles == ["0"]
    outbox.close(20)
    assert channel.titles == ["0", "1"], "the end waits for no pause"


def test_what_does_not_fit_is_counted_and_told_in_the_next_message() -> None:
    channel = Channel(closed=True)
    outbox = Outbox("x", channel, render, QUICK)
    outbox.put(change(-1))
    assert channel.began.wait(20)
    for n in range(CAPACITY + 30):
        outbox.put(change(n))
    channel.open.set()
    outbox.drain(20)
    first, second = channel.sent
    assert (first.title, first.body) == ("-1", "0")
    assert len(second.title.split()) == CAPACITY - 1
    assert second.body == "31"
    outbox.put(change(7))
    outbox.drain(20)
    assert channel.sent[2].body == "0", "told once"


def test_a_failure_is_tried_again_and_then_given_up_with_a_word_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    channel = Channel(failures=4)
    outbox = Outbox("address 1 (slack://)", channel, render, QUICK)
    outbox.put(change(1))
    outbox.put(change(2))
    outbox.drain(20)
    assert (len(channel.tried), channel.sent) == (4, [])
    (record,) = caplog.records
    assert record.getMessage().endswith("notifications to address 1 (slack://) could not be sent")
    channel.failures = 3
    outbox.put(change(3))
    outbox.drain(20)
    assert [(message.title, message.body) for message in channel.sent] == [("3", "2")]


def test_an_error_while_sending_is_a_failure_and_shows_nothing_of_its_text(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def send(message: Message) -> bool:
        raise OSError("no way to https://hooks/secret")

    outbox = Outbox("x", send, render, QUICK)
    outbox.put(change(1))
    outbox.drain(20)
    assert "OSError" in caplog.text
    assert "secret" not in caplog.text


def test_closing_sends_at_once_and_once_only() -> None:
    channel = Channel(failures=1)
    outbox = Outbox("x", channel, render, Pace(gather=600.0, pause=600.0, retries=(600.0,)))
    outbox.put(change(1))
    outbox.close(20)
    assert [message.title for message in channel.tried] == ["1"]
    assert channel.sent == []


def test_putting_returns_while_the_channel_hangs() -> None:
    channel = Channel(closed=True)
    outbox = Outbox("x", channel, render, QUICK)
    for n in range(10 * CAPACITY):
        outbox.put(change(n))
    assert channel.tried == []
    outbox.close(0.0)
    channel.open.set()
    outbox.drain(20)


def run(script: str) -> subprocess.CompletedProcess[str]:
    start = """
        import atexit, threading, time
        from pathlib import Path
        from heldout.views.notify.message import Change, Message
        from heldout.views.notify.outbox import Outbox, Pace

        def render(changes, untold):
            return Message(title=changes[0].head, body="", level="info")

        last = Change(run="r", level="error", head="last words", text="")
    """
    text = textwrap.dedent(start) + textwrap.dedent(script)
    command = [sys.executable, "-c", text]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_dead_network_keeps_no_process_alive() -> None:
    done = run("""
        began = threading.Event()

        def send(message):
            began.set()
            time.sleep(600)

        outbox = Outbox("x", send, render, Pace(gather=0.0))
        outbox.put(last)
        assert began.wait(20)
        atexit.register(outbox.close, 0.2)
        print("the end")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "the end\n", "")


def test_a_change_at_the_very_end_of_a_process_is_sent(tmp_path: Path) -> None:
    done = run(f"""
        def send(message):
            Path({str(tmp_path / "sent")!r}).write_text(message.title)
            return True

        outbox = Outbox("x", send, render)
        outbox.start()
        atexit.register(outbox.close, 20)
        atexit.register(outbox.put, last)
    """)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "sent").read_text() == "last words"
