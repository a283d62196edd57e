"""Addresses: used through Apprise against a real local server, and their secrets never shown."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import pytest
from receiver import Receiver

from heldout.errors import ConfigError
from heldout.views.notify.channel import channels, kind
from heldout.views.notify.message import TEST, Message
from heldout.views.notify.options import NotifyOptions

SECRET = "secret"


def send(receiver: Receiver, message: Message = TEST) -> bool:
    ((_, sender),) = channels(NotifyOptions(urls=[receiver.address(SECRET)]))
    return sender(message)


def test_a_message_arrives_as_it_was_written(receiver: Receiver) -> None:
    body = "a\n\nb <b>&amp; \\n {x} *y* é ✓ 模型 😀"
    assert send(receiver, Message(title="t é", body=body, level="critical"))
    (got,) = receiver.messages
    assert (got["title"], got["message"], got["type"]) == ("t é", body, "failure")


@pytest.mark.parametrize("status", [500, 404, 302])
def test_a_refusal_is_a_failure(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    assert send(receiver) is False
    assert send(receiver) is True


def test_a_server_that_is_down_is_a_failure(receiver: Receiver) -> None:
    options = NotifyOptions(urls=["json://127.0.0.1:1/x"])
    ((_, sender),) = channels(options)
    assert sender(TEST) is False


def test_what_libraries_log_while_sending_is_kept_out_of_every_log(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for name in ("apprise", "urllib3.connectionpool"):
        caplog.set_level(logging.DEBUG, logger=name)
    receiver.answers = [500]
    assert send(receiver) is False
    assert send(receiver) is True
    ((_, sender),) = channels(NotifyOptions(urls=[f"json://{SECRET}@127.0.0.1:1/{SECRET}"]))
    assert sender(TEST) is False
    assert SECRET not in caplog.text
    assert "127.0.0.1" not in caplog.text
    logging.getLogger("apprise").warning("of somebody else's sending")
    assert "of somebody else's sending" in caplog.text


def test_every_address_that_cannot_be_used_is_named_by_number_and_never_shown() -> None:
    urls = [
        "json://localhost",
        f"nosuch://{SECRET}",
        f"{SECRET} and no address",
        f"slack://{SECRET}",
    ]
    with pytest.raises(ConfigError) as raised:
        channels(NotifyOptions(urls=urls))
    lines = str(raised.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"notify.urls, address {n}" for n in (2, 3, 4)
    ]
    assert "nosuch://" in lines[0]
    assert "an address without a kind" in lines[1]
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("slack://a/b/c", "slack://"),
        ("schan://x", "schan://"),
        ("secret://x" + "y" * 40, "secret://"),
        ("sec ret://x", "an address without a kind"),
        ("x" * 30 + "://", "an address without a kind"),
        ("token", "an address without a kind"),
    ],
)
def test_the_kind_of_an_address_shows_nothing_else(url: str, shown: str) -> None:
    assert kind(url) == shown


def test_without_apprise_one_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(ConfigError) as raised:
        channels(NotifyOptions(urls=[f"json://{SECRET}"]))
    assert str(raised.value) == (
        "notify.urls needs the package apprise. Install it with: pip install 'heldout[notify]'"
    )


def test_a_dry_run_prints_and_sends_nothing(
    receiver: Receiver, capsys: pytest.CaptureFixture[str]
) -> None:
    options = NotifyOptions(urls=[receiver.address(SECRET), "json://127.0.0.1:1"], dry_run=True)
    ((name, sender),) = channels(options)
    assert name == "address 1 (json://), address 2 (json://)"
    assert sender(TEST)
    assert receiver.messages == []
    shown = capsys.readouterr().out
    assert TEST.body in shown
    assert SECRET not in shown


def test_a_dry_run_needs_no_address_and_no_apprise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    ((_, sender),) = channels(NotifyOptions(dry_run=True))
    assert sender(TEST)
    assert TEST.title in capsys.readouterr().out
    assert channels(NotifyOptions()) == []


def test_options_name_every_mistake_and_show_no_address() -> None:
    with pytest.raises(ConfigError) as raised:
        NotifyOptions(urls=["json://x", 3, None], level="bad")  # type: ignore[arg-type, list-item]
    assert len(str(raised.value).splitlines()) == 3
    with pytest.raises(ConfigError, match="must be a list of addresses"):
        NotifyOptions(urls=f"json://{SECRET}")
    shown = repr(NotifyOptions(urls=[f"json://{SECRET}"], link=f"http://h/?token={SECRET}"))
    assert SECRET not in shown


def heldout(*args: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("HELDOUT_")} | environment
    command = [sys.executable, "-m", "heldout", "notify", *args]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=clean)


def test_the_command_sends_a_test_and_says_what_arrived(receiver: Receiver) -> None:
    done = heldout(receiver.address(SECRET), f"json://127.0.0.1:1/{SECRET}")
    assert done.returncode == 1, done.stderr
    assert done.stdout.splitlines() == [
        "address 1 (json://): sent",
        "address 2 (json://): could not be sent",
    ]
    assert [m["message"] for m in receiver.messages] == [TEST.body]
    assert SECRET not in done.stdout + done.stderr


def test_the_command_takes_addresses_from_the_environment(receiver: Receiver) -> None:
    done = heldout(HELDOUT_NOTIFY_URLS=f"['{receiver.address()}']")
    assert (done.returncode, len(receiver.messages)) == (0, 1), done.stderr
    dry = heldout("--dry-run", receiver.address(SECRET))
    assert (dry.returncode, len(receiver.messages)) == (0, 1)
    assert TEST.body in dry.stdout
    assert SECRET not in dry.stdout
    none = heldout()
    assert none.returncode == 3
    assert "no address" in none.stderr
    broken = heldout(HELDOUT_NOTIFY_URLS=f"[json://{SECRET}", HELDOUT_NOTIFY_LEVEL="bad")
    assert broken.returncode == 3
    assert SECRET not in broken.stderr
