"""Nobody but the reader gets at the runs: host names, tokens, headers."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from heldout.errors import ConfigError
from heldout.views.web.app import create_app
from heldout.views.web.guard import host_name

TOKEN = "a-long-token"


def ask(runs: Path, host: str, path: str = "/api/runs", **options: object) -> int:
    client = TestClient(create_app(runs, **options))  # type: ignore[arg-type]
    return client.get(path, headers={"Host": host}).status_code


@pytest.mark.parametrize("host", ["localhost", "localhost:8123", "127.0.0.1:1", "[::1]:8123"])
def test_this_machine_is_answered_under_its_names(runs: Path, host: str) -> None:
    assert ask(runs, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:8123",
        "10.0.0.5",
        "",
        "[::2]",
    ],
)
def test_a_foreign_host_name_is_refused_everywhere(runs: Path, host: str) -> None:
    for path in ("/", "/api/runs", "/api/runs/first/events", "/assets/x.js"):
        assert ask(runs, host, path) == 400


def test_a_host_beyond_this_machine_needs_a_token(runs: Path) -> None:
    with pytest.raises(ConfigError, match="needs a token"):
        create_app(runs, hosts={"box.example"})
    with pytest.raises(ConfigError, match="needs a token"):
        create_app(runs, hosts={"box.example"}, token="")


def test_a_bound_host_is_answered_and_others_still_refused(runs: Path) -> None:
    options = {"hosts": {"box.example"}, "token": TOKEN}
    path = f"/api/runs?token={TOKEN}"
    assert ask(runs, "box.example:8123", path, **options) == 200
    assert ask(runs, "10.0.0.5:8123", path, **options) == 200  # no name, so it cannot be rebound
    assert ask(runs, "evil.example", path, **options) == 400


@pytest.fixture
def guarded(runs: Path) -> TestClient:
    return TestClient(create_app(runs, token=TOKEN), base_url="http://localhost")


def test_without_the_token_nothing_is_told(guarded: TestClient) -> None:
    for path in ("/", "/run/first", "/api/runs", "/api/runs/first/export.csv", "/assets/x.js"):
        answer = guarded.get(path)
        assert answer.status_code == 401
        assert "first" not in answer.text


@pytest.mark.parametrize("wrong", ["", "a-long-toke", "a-long-token2", "\u00fc", "A-LONG-TOKEN"])
def test_a_wrong_token_opens_nothing_and_sets_nothing(guarded: TestClient, wrong: str) -> None:
    answer = guarded.get("/api/runs", params={"token": wrong})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_the_token_becomes_a_cookie_and_leaves_the_address(guarded: TestClient) -> None:
    answer = guarded.get("/run/first", params={"token": TOKEN, "x": "1"})
    assert answer.status_code == 200
    assert 'content="0; url=./first?x=1"' in answer.text
    assert TOKEN not in answer.text
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert guarded.get("/api/runs").status_code == 200


def test_the_welcome_goes_nowhere_else(guarded: TestClient) -> None:
    for path in ("//evil.example", "/run/%22%3E%3Cscript%3E", "/http:%2f%2fevil.example"):
        text = guarded.get(f"http://localhost{path}?token={TOKEN}").text
        assert "url=./" in text
        assert "<script>" not in text


def test_a_program_may_send_the_token_in_a_header(guarded: TestClient) -> None:
    assert guarded.get("/api/runs", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    assert guarded.get("/api/runs", headers={"Authorization": "Bearer no"}).status_code == 401


@pytest.mark.parametrize("path", ["/", "/api/runs", "/api/runs/none", "/assets/none.js"])
def test_every_answer_carries_the_security_headers(runs: Path, path: str) -> None:
    answer = TestClient(create_app(runs), base_url="http://localhost").get(
        path, headers={"Origin": "http://evil.example"}
    )
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert "access-control-allow-origin" not in answer.headers


def test_a_host_header_is_read_without_port_and_brackets() -> None:
    assert host_name("LocalHost:80") == "localhost"
    assert host_name("[::1]:80") == "::1"
    assert host_name("") == ""
