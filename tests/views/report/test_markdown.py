"""The report as Markdown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from recorded_run import STARTED, eval_records, recorded, run_record, sample, write

from heldout.cli import main
from heldout.derive.history import History
from heldout.records import AnyRecord, Checkpoint, Decision, Verdict
from heldout.views.report.markdown import escaped, markdown_report
from heldout.views.report.past import past_alerts

NASTY = (
    "# <script>x</script> [a](javascript:b) ![i](https://x.test/p.png) @team | `c` *d*"
    "\n\n- e\x1b[0m\u202e"
)


def told(records: list[AnyRecord]) -> str:
    return markdown_report("first", History.of(records), past_alerts(records))


def test_every_number_has_its_interval_and_n() -> None:
    found = told(recorded())
    for line in (
        "**Stop training. Use checkpoint-20.** The loss is not finite.",
        "| Exact match | 66.7% | 54.1% to 77.3% | 60 examples |",
        "| Cross-entropy, nats per token | 0.900 | 0.500 to 2.500 | 1,200 tokens |",
        "| 60 | checkpoint-60 (best) | 66.7% [54.1%, 77.3%] of 60 | 0.900 | 0.080 |",
        "| reasoning | too few to know | 6 |",
        "| coding | 74.1% [55.3%, 86.8%] | 27 |",
        "Not checked, for want of data: plateau.",
        "- need more 'reasoning' examples",
        r"- fixed set: fixed\_eval.jsonl, 60 examples, content hash abc123",
        "- torch 2.13",
        '  "lr": 0.0002,',
    ):
        assert f"{line}\n" in found


def test_every_table_row_has_the_columns_of_its_head() -> None:
    for table in re.findall(r"(?:^\|.*\n)+", told([*recorded(), *hostile(61)]), re.MULTILINE):
        counts = {len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}
        assert len(counts) == 1


def hostile(step: int) -> list[AnyRecord]:
    when = STARTED + step
    return [
        *eval_records(step, 50),
        Checkpoint(step=step, time=when, path=NASTY),
        Verdict(
            step=step, time=when, rule="r", state="open", level="error", message=NASTY, action=NASTY
        ),
        Decision(step=step, time=when, action="stop", checkpoint=NASTY, tied=[NASTY], reason=NASTY),
    ]


def test_hostile_text_is_only_text() -> None:
    found = told([*recorded(), *hostile(61)])
    before, _, settings = found.partition("<details>")
    assert not re.search(r"(?<!\\)\]\(", before)
    for dangerous in ("<script", "<img", "https://", "@team", "`c`", "*d*", "\x1b", "\u202e"):
        assert dangerous not in before
    assert "\n- e" not in found
    assert settings.count("```") == 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("checkpoint-20", "checkpoint-20"),
        ("- a", "&#45; a"),
        ("1. a", "&#49;. a"),
        ("# a # b", "&#35; a # b"),
        ("a_b*c", r"a\_b\*c"),
        ("www.x.test http://x", "www&#46;x.test http&#58;//x"),
        ("a\nb", "a b"),
        ("\ud800", "?"),
    ],
)
def test_text_is_escaped_where_markdown_would_read_it(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_a_fence_is_longer_than_any_in_the_settings() -> None:
    run = run_record()
    run.config["prompt"] = "````\n```"
    settings = told([run, sample(1)]).partition("</summary>")[2]
    assert settings.strip().startswith("`````json")


def test_a_run_without_an_evaluation_tells_its_curves() -> None:
    found = told([run_record(), *(sample(step) for step in range(1, 31))])
    assert "Not evaluated on a fixed held-out set." in found
    assert re.search(r"^- loss [\d.]+ at step 1 ", found, re.MULTILINE)


def test_the_command_prints_it_and_returns_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path / "first", recorded()).parent
    monkeypatch.setattr("sys.argv", ["heldout", "report", str(folder), "--md"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert capsys.readouterr().out == told(recorded())
