"""The page in a real browser, on a recorded journal that then goes on."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path

import pytest
from looking import head, painted, panel, reddish
from playwright.sync_api import Browser, Download, Page, expect
from recorded_run import (
    DRAWN,
    HOSTILE,
    METRICS,
    NAN_STEP,
    STALLED,
    STARTED,
    eval_records,
    recorded,
    resumed,
    run_record,
    sample,
    write,
)
from serving import serving

from heldout.records import Layer, Layers, Note
from heldout.views.web.app import STATIC

MOST_SCRIPT_BYTES = 250_000
PANELS = ("loss", "fixed-eval", "patterns", "alerts", "speed", "lora", "signals", "log", "details")
FOLDED = ("log", "details")


def test_the_headline_says_what_to_do_and_why(page: Page, server: str) -> None:
    page.goto(server)
    headline = page.get_by_role("region", name="Summary")
    expect(headline.get_by_role("heading")).to_have_text("first")
    expect(headline).to_contain_text("step 60 of 80")
    expect(headline).to_contain_text("Stop training. Use checkpoint-20.")
    expect(headline).to_contain_text("The loss is not finite.")
    expect(headline).to_contain_text("need more 'reasoning' examples")
    expect(headline).to_contain_text("66.7\u202f%")
    expect(headline).to_contain_text("n 60")
    expect(page.locator(".badge")).to_contain_text("live")


def test_every_panel_fills_from_the_journal(page: Page, server: str) -> None:
    page.goto(server)
    expect(page.locator(".panel")).to_have_count(len(PANELS))
    expect(page.locator(".empty")).to_have_count(0)

    loss = panel(page, "loss")
    for title in ("Step loss", "Streaming CE", "Token entropy"):
        expect(loss).to_contain_text(title)
    assert painted(loss.locator("canvas").first)

    held = panel(page, "fixed-eval")
    expect(held).to_contain_text("40 of 60")
    expect(held).to_contain_text(re.compile(r"improving|plateau|inconclusive|regressing"))
    expect(held).to_contain_text(re.compile(r"Best checkpointcheckpoint-\d+"))
    expect(held.locator("canvas")).to_have_count(3)

    matrix = panel(page, "patterns").get_by_role("table")
    factual = matrix.get_by_role("row", name=re.compile("^factual"))
    expect(factual.locator("td.total")).to_contain_text("n 27")
    expect(factual.locator("td.total")).to_contain_text("%")
    reasoning = matrix.get_by_role("row", name=re.compile("^reasoning"))
    expect(reasoning.locator("td.total")).to_contain_text("unknown")
    expect(reasoning.locator("td.total")).to_contain_text("0 of 6")

    alerts = panel(page, "alerts")
    expect(alerts).to_contain_text("critical")
    expect(alerts).to_contain_text("Stop; check masking")
    expect(alerts).to_contain_text(f"open at step {NAN_STEP}")
    expect(alerts.locator(".evidence")).to_contain_text("NaN")
    expect(alerts).to_contain_text("Not checked (1)")

    signals = panel(page, "signals")
    names = signals.locator(".signal-name")
    expect(names).to_have_count(len(METRICS) - len(DRAWN))
    for name, (title, _) in METRICS.items():
        expect(names.filter(has_text=title)).to_have_count(0 if name in DRAWN else 1)

    head(page, "details").click()
    details = panel(page, "details")
    expect(details).to_contain_text("fixed_eval.jsonl")
    details.get_by_text("Lines of the held-out set not used (1)").click()
    expect(details).to_contain_text("line 7: empty")


def test_speed_says_where_the_time_goes_and_how_much_is_left(page: Page, server: str) -> None:
    page.goto(server)
    speed = panel(page, "speed")
    expect(speed).to_contain_text("30,720")  # 60 steps of 512 tokens
    expect(speed).to_contain_text("Time left")
    expect(speed).to_contain_text("about 10\u202fs")  # 20 steps of 0.57 s
    expect(speed).to_contain_text(re.compile("Padding25\u202f%"))
    expect(speed).to_contain_text(re.compile("Host memory3.5\u202fGiB"))
    expect(speed.locator(".facts")).not_to_contain_text("utilisation")
    expect(speed).not_to_contain_text("Device memory")
    expect(speed.get_by_role("img", name="Where the time goes")).to_be_visible()
    key = speed.locator(".split-key li")
    expect(key).to_have_count(3)
    expect(key.first).to_have_text("waiting for data11\u202f%")
    expect(speed.locator("canvas")).to_have_count(3)
    expect(page.get_by_role("region", name="Summary")).to_contain_text("about 10\u202fs left")


def test_the_layers_are_shown_by_movement_and_by_impact(page: Page, server: str) -> None:
    page.goto(server)
    lora = panel(page, "lora")
    expect(lora.locator(".sentence")).to_have_text(
        "layers 6-7 adapting most (Δ=0.75%, 1.7x the median layer) but carry only 8 % of the impact"
    )
    moved, impact = lora.locator(".leaders").all()
    expect(moved.locator("li")).to_have_count(5)
    expect(moved.locator("li").first).to_contain_text("layer 7")
    expect(impact.locator("li").first).to_contain_text("layer 0")
    expect(lora.get_by_role("img", name="Movement of 8 layers by depth")).to_be_visible()
    expect(lora).to_contain_text("dependence of the training loss")
    expect(lora).to_contain_text(re.compile("stalled 1 module: moved less than 1 % of its peers"))
    expect(lora).to_contain_text(STALLED)


def test_the_table_of_layers_changes_by_keyboard(page: Page, server: str) -> None:
    page.goto(server)
    lora = panel(page, "lora")
    lora.get_by_text("All 8 layers by kind", exact=True).click()
    rows = lora.locator("tbody tr")
    expect(rows).to_have_count(8)
    expect(rows.last).to_contain_text("0.80\u202f%")
    expect(rows.nth(2)).to_contain_text("stalled")
    expect(lora.get_by_role("columnheader", name="o", exact=True)).to_have_count(0)
    lora.get_by_role("radio", name="moved").focus()
    page.keyboard.press("ArrowRight")
    expect(lora.get_by_role("radio", name="impact")).to_be_checked()
    expect(rows.first).to_contain_text("22\u202f%")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(lora.get_by_role("radio", name="state")).to_be_checked()
    expect(rows.nth(2)).to_contain_text("▲ stalled")
    lora.get_by_text("rank in use").click()
    expect(rows.first).to_contain_text("3.2 of 16")
    page.reload()
    expect(lora.get_by_role("radio", name="rank in use")).to_be_checked()


def test_a_kind_that_is_not_adapted_is_never_a_zero(page: Page, tmp_path: Path) -> None:
    rows = [
        Layer(stack="", layer=-1, other=0.5, delta_norm=0.5, relative=None),
        Layer(stack="", layer=0, mlp=0.5, delta_norm=0.5, relative=0.1),
        Layer(stack="", layer=2, qkv=0.5, delta_norm=0.5, relative=0.1),
    ]
    note = "no LoRA adapters: the trained weights themselves"
    write(
        tmp_path / "part",
        [run_record("part"), sample(1), Layers(step=1, time=STARTED, layers=rows, note=note)],
    )
    with serving(tmp_path) as address:
        page.goto(address)
        lora = panel(page, "lora")
        expect(lora).to_contain_text(note)
        expect(lora).not_to_contain_text("impact")
        lora.get_by_text("All 3 layers by kind").click()
        first = lora.locator("tbody tr").first
        expect(first).to_contain_text("outside the layers")
        expect(first.locator("td.unknown")).to_have_count(2)
        expect(first.locator("td.unknown").first).to_have_text("not adapted")
        expect(lora.get_by_role("radio")).to_have_count(2)  # moved and state
        expect(lora.locator(".profile-bar.absent")).to_have_count(1)
        page.goto("about:blank")


def test_a_nan_is_marked_on_the_curve_and_told_in_words(page: Page, server: str) -> None:
    page.goto(server)
    loss = panel(page, "loss")
    expect(loss.locator(".not-finite")).to_have_text(f"✕ Step loss was NaN at step {NAN_STEP}.")
    expect(loss.get_by_role("img").first).to_have_attribute(
        "aria-label", re.compile(rf"Step loss was NaN at step {NAN_STEP}\.")
    )
    assert reddish(loss.locator("canvas").first) > 100


def test_a_run_without_nan_has_no_mark(page: Page, tmp_path: Path) -> None:
    write(tmp_path / "clean", [run_record("clean"), *(sample(step) for step in range(1, 61))])
    with serving(tmp_path) as address:
        page.goto(address)
        canvas = panel(page, "loss").locator("canvas").first
        assert painted(canvas)
        assert reddish(canvas) == 0
        expect(page.locator(".not-finite")).to_have_count(0)
        page.goto("about:blank")


def test_every_panel_collapses_and_remembers_it(page: Page, server: str) -> None:
    page.goto(server)
    for name in PANELS:
        before = head(page, name).get_attribute("aria-expanded")
        assert before == ("false" if name in FOLDED else "true")
        head(page, name).click()
        after = "true" if name in FOLDED else "false"
        expect(head(page, name)).to_have_attribute("aria-expanded", after)
        visible = panel(page, name).locator(".panel-body").is_visible()
        assert visible == (name in FOLDED)
    page.reload()
    for name in PANELS:
        after = "true" if name in FOLDED else "false"
        expect(head(page, name)).to_have_attribute("aria-expanded", after)
        head(page, name).click()
    page.reload()
    for name in PANELS:
        expect(head(page, name)).to_have_attribute(
            "aria-expanded", "false" if name in FOLDED else "true"
        )


def test_an_opened_detail_stays_open_across_a_reload(page: Page, server: str) -> None:
    page.goto(server)
    rows = panel(page, "lora").locator("tbody tr")
    expect(rows).to_have_count(0)
    panel(page, "lora").get_by_text("All 8 layers by kind", exact=True).click()
    expect(rows).to_have_count(8)
    page.reload()
    expect(rows).to_have_count(8)


def test_a_panel_opens_by_keyboard(page: Page, server: str) -> None:
    page.goto(server)
    head(page, "loss").focus()
    page.keyboard.press("Enter")
    expect(panel(page, "loss").locator("canvas")).to_have_count(0)
    page.keyboard.press("Space")
    expect(panel(page, "loss").locator("canvas")).to_have_count(2)


def test_the_exports_hold_every_metric_also_one_of_tomorrow(page: Page, server: str) -> None:
    page.goto(server)
    whole = json.loads(download(page, "JSON").path().read_text("utf-8"))
    assert set(whole["series"]) == set(METRICS)
    assert whole["series"]["loss/step"]["values"][NAN_STEP - 1] == "NaN"
    with download(page, "CSV").path().open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) >= set(METRICS)
    assert [row["mine/new"] for row in rows] == [str(float(step)) for step in range(1, 61)]


def test_appended_records_appear_while_the_page_is_open(
    page: Page, server: str, runs: Path
) -> None:
    page.goto(server)
    headline = page.get_by_role("region", name="Summary")
    expect(headline).to_contain_text("step 60 of 80")
    write(runs / "first", [sample(61, **{"loss/step": float("inf"), "late/metric": 5.0})])
    expect(headline).to_contain_text("step 61 of 80")
    expect(panel(page, "loss").locator(".not-finite")).to_contain_text("∞ at step 61")
    expect(panel(page, "signals")).to_contain_text("late/metric")
    write(runs / "first", [sample(62), *eval_records(62, right=54)])
    expect(panel(page, "fixed-eval")).to_contain_text("54 of 60")
    end = Note(step=62, time=STARTED + 300, topic="finished", text="")
    write(runs / "first", [end])
    expect(page.locator(".badge")).to_have_text("ended")
    expect(headline).to_contain_text("finished")


def test_a_resume_takes_back_the_steps_after_it(page: Page, server: str, runs: Path) -> None:
    page.goto(server)
    mine = panel(page, "signals").get_by_role("listitem").filter(has_text="A metric of tomorrow")
    expect(mine).to_contain_text("60\u202fapples")
    write(runs / "first", [resumed(20), sample(21)])
    expect(mine).to_contain_text("21\u202fapples")
    expect(panel(page, "loss").locator(".not-finite")).to_have_count(0)  # the NaN was at step 33


def test_hostile_text_is_only_text(page: Page, server: str) -> None:
    page.goto(server)
    expect(panel(page, "alerts")).to_contain_text(HOSTILE)
    head(page, "details").click()
    panel(page, "details").get_by_text("Settings").click()
    expect(panel(page, "details")).to_contain_text(HOSTILE)
    assert page.locator("main img:not([src^='data'])").count() == 0
    expect(page).to_have_title("first · heldout")


def test_the_theme_follows_the_system_until_one_is_chosen(page: Page, server: str) -> None:
    page.emulate_media(color_scheme="dark")
    page.goto(server)
    assert brightness(page) < 60
    page.emulate_media(color_scheme="light")
    assert brightness(page) > 200
    for _ in range(2):  # system, light, dark
        page.get_by_role("button", name=re.compile("^Theme")).click()
    assert brightness(page) < 60
    page.reload()
    expect(page.get_by_role("button", name=re.compile("^Theme: dark"))).to_be_visible()
    assert brightness(page) < 60


def test_a_run_can_be_chosen_and_the_address_names_it(page: Page, server: str, runs: Path) -> None:
    write(runs / "second", [run_record("second"), sample(1)])
    page.goto(f"{server}/run/first")
    page.get_by_role("combobox", name="Run").select_option("second")
    expect(page.get_by_role("heading", level=1)).to_have_text("second")
    assert page.url == f"{server}/run/second"
    page.go_back()
    expect(page.get_by_role("heading", level=1)).to_have_text("first")


def test_empty_panels_say_why(page: Page, tmp_path: Path) -> None:
    note = "this model has no LoRA adapters"
    bare = [
        run_record("bare"),
        sample(1),
        Layers(step=0, time=STARTED, layers=[], note=note),
    ]
    write(tmp_path / "bare", bare)
    with serving(tmp_path) as address:
        page.goto(address)
        expect(panel(page, "lora")).to_contain_text(note)
        expect(panel(page, "fixed-eval")).to_contain_text("The fixed set holds 60 examples")
        expect(panel(page, "patterns")).to_contain_text("because")
        expect(panel(page, "alerts")).to_contain_text("No open alerts")
        page.goto("about:blank")


def test_a_folder_without_runs_shows_the_first_one_that_starts(page: Page, tmp_path: Path) -> None:
    with serving(tmp_path) as address:
        page.clock.install()
        page.goto(address)
        expect(page.get_by_role("heading")).to_have_text("No runs yet")
        write(tmp_path / "first", recorded())
        page.clock.run_for(11_000)
        expect(page.get_by_role("heading", level=1)).to_have_text("first")
        page.goto("about:blank")


def test_the_token_opens_the_page_and_leaves_the_address(page: Page, runs: Path) -> None:
    with serving(runs, token="secret-token") as address:
        page.goto(f"{address}/run/first?token=secret-token")
        expect(page.get_by_role("region", name="Summary")).to_contain_text("step 60 of 80")
        assert page.url == f"{address}/run/first"
        assert page.evaluate("document.cookie") == ""
        page.goto("about:blank")


def test_the_page_works_under_a_sub_path(page: Page, runs: Path) -> None:
    write(runs / "second", [run_record("second"), sample(1)])
    with serving(runs, under="/tools/heldout") as address:
        for path in ("/#/run/first", "/run/first"):
            page.goto(address + path)
            page.get_by_role("combobox", name="Run").select_option("second")
            expect(page.get_by_role("heading", level=1)).to_have_text("second")
            assert page.url == f"{address}/run/second"
            expect(page.locator(".badge")).to_contain_text("live")
        page.goto("about:blank")


def test_a_cut_is_shown_and_what_was_missed_comes_after_it(chromium: Browser, runs: Path) -> None:
    page = chromium.new_page()
    with serving(runs) as address:
        page.goto(address)
        expect(page.locator(".badge")).to_contain_text("live")
    expect(page.locator(".badge")).to_contain_text("reconnecting, what you see is old")
    expect(page.locator("main.stale")).to_be_visible()
    write(runs / "first", [sample(61)])
    with serving(runs, port=int(address.rpartition(":")[2])):
        expect(page.locator(".badge")).to_contain_text("live", timeout=20_000)
        expect(page.get_by_role("region", name="Summary")).to_contain_text("step 61 of 80")
        expect(page.locator("main.stale")).to_have_count(0)
        page.close()


@pytest.mark.parametrize("width", [360, 768, 1024, 1920])
def test_no_width_cuts_the_page_off(page: Page, server: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(server)
    expect(page.locator(".panel")).to_have_count(len(PANELS))
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_scripts_are_small_enough_to_load_at_once() -> None:
    scripts = list((STATIC / "assets").glob("*.js"))
    assert scripts, "the page is not built: make web"
    compressed = sum(len(gzip.compress(script.read_bytes())) for script in scripts)
    assert compressed <= MOST_SCRIPT_BYTES


def download(page: Page, kind: str) -> Download:
    with page.expect_download() as found:
        page.get_by_role("link", name=f"Export this run as {kind}").click()
    assert found.value.suggested_filename == f"first.{kind.lower()}"
    return found.value


def brightness(page: Page) -> float:
    found: float = page.evaluate(
        """getComputedStyle(document.body).backgroundColor
            .match(/[0-9.]+/g).slice(0, 3).map(Number).reduce((a, b) => a + b) / 3"""
    )
    return found
