"""What can be done with the panels of a run: look closer, look back, rearrange, save, acknowledge."""

from __future__ import annotations

import csv
import json
import re
import struct
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from looking import drag, glass, head, open_menu, panel, save
from playwright.sync_api import Browser, Locator, Page, expect
from recorded_run import (
    NAN_STEP,
    STARTED,
    eval_records,
    metric_records,
    recorded,
    resumed,
    run_record,
    sample,
    write,
)
from serving import serving

from heldout.records import Checkpoint, Data, Decision, Layers, Note, Rows, Sample, State, Verdict

SPIKE = 12_345
LONG = 40_000


def shown(page: Page) -> tuple[int, int]:
    """The steps that the bar above the panels says are shown."""
    first = page.get_by_role("spinbutton", name="First step shown").input_value()
    last = page.get_by_role("spinbutton", name="Last step shown").input_value()
    return int(first), int(last)


def test_a_drag_over_one_chart_zooms_all_and_a_double_click_undoes_it(
    page: Page, server: str
) -> None:
    page.goto(server)
    loss = glass(page, "Loss")
    expect(loss).to_have_attribute("aria-valuemax", "60")
    assert shown(page) == (1, 60)
    drag(page, loss, 0.4, 0.7)
    first, last = shown(page)
    assert 10 < first < 35 < last < 55
    for title in ("Loss", "Gradient norm", "Exact match", "Calibration error", "Time per step"):
        glass(page, title).scroll_into_view_if_needed()  # out of sight a chart rests
        expect(glass(page, title)).to_have_attribute("aria-valuemin", str(first))
        expect(glass(page, title)).to_have_attribute("aria-valuemax", str(last))
    glass(page, "Gradient norm").dblclick()
    assert shown(page) == (1, 60)
    expect(loss).to_have_attribute("aria-valuemax", "60")


def test_the_cursor_is_one_for_all_charts_and_tells_exact_values(page: Page, server: str) -> None:
    page.goto(server)
    box = glass(page, "Loss").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 100)
    step = int(glass(page, "Loss").get_attribute("aria-valuenow") or "")
    assert 25 <= step <= 35
    for title in ("Gradient norm", "Exact match", "Tokens per second"):
        expect(glass(page, title)).to_have_attribute("aria-valuenow", str(step))
        expect(glass(page, title).locator(".cursor")).to_have_count(1)
    tip = page.locator(".glass .tip")
    expect(tip).to_have_count(1)
    expect(tip).to_contain_text(f"step {step}")
    exact = tip.locator("p", has_text="Streaming CE").locator("b").inner_text()
    assert re.fullmatch(r"0\.\d{8,17}\u202fnats", exact), exact
    page.mouse.move(10, 10)
    expect(page.locator(".cursor")).to_have_count(0)


def test_the_keyboard_moves_the_cursor_selects_a_range_and_zooms(page: Page, server: str) -> None:
    page.goto(server)
    loss = glass(page, "Loss")
    loss.focus()
    page.keyboard.press("Home")
    expect(loss).to_have_attribute("aria-valuenow", "1")
    expect(loss).to_have_attribute("aria-valuetext", re.compile(r"^step 1: Step loss 2\.\d+.nats"))
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    for _ in range(10):
        page.keyboard.press("Shift+ArrowRight")
    expect(loss.locator(".selection")).to_be_visible()
    page.keyboard.press("Enter")
    assert shown(page) == (10, 20)
    page.keyboard.press("-")
    assert shown(page)[1] - shown(page)[0] == 20
    page.keyboard.press("Escape")
    assert shown(page) == (1, 60)
    page.keyboard.press("+")
    page.keyboard.press("PageUp")
    assert shown(page)[1] - shown(page)[0] == 30
    page.get_by_role("button", name="Reset").click()
    assert shown(page) == (1, 60)
    page.get_by_role("spinbutton", name="First step shown").fill("30")
    page.keyboard.press("Enter")
    assert shown(page) == (30, 60)


COUNT_PAINTINGS = """() => {
    window.painted = new Map();
    const { clearRect } = CanvasRenderingContext2D.prototype;
    CanvasRenderingContext2D.prototype.clearRect = function (...box) {
        const title = this.canvas.closest("[data-picture]").dataset.picture;
        window.painted.set(title, (window.painted.get(title) ?? 0) + 1);
        clearRect.apply(this, box);
    };
}"""

GESTURE = """() => new Promise((done) => {
    const glass = document.querySelector(".glass");
    const { left, width, top } = glass.getBoundingClientRect();
    const at = { bubbles: true, cancelable: true, clientX: left + width / 2, clientY: top + 50 };
    for (let i = 0; i < 5; i += 1) {
        glass.dispatchEvent(new WheelEvent("wheel", { ...at, deltaY: -60, ctrlKey: true }));
    }
    requestAnimationFrame(() => setTimeout(() => done(Object.fromEntries(window.painted))));
})"""


def test_a_gesture_paints_each_chart_in_sight_once_a_frame_and_no_other(
    page: Page, server: str
) -> None:
    page.goto(server)
    expect(glass(page, "Loss")).to_have_attribute("aria-valuemax", "60")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_timeout(300)  # what is in sight is told a moment later
    page.evaluate(COUNT_PAINTINGS)
    in_sight = page.locator(".panel figure:has(canvas)").evaluate_all(
        """(figures) => figures.filter((figure) => {
            const { top, bottom } = figure.querySelector("canvas").getBoundingClientRect();
            return top < innerHeight + 40 && bottom > -40;
        }).map((figure) => figure.dataset.picture)"""
    )
    place = glass(page, "Loss").bounding_box()
    painted = page.evaluate(GESTURE)
    assert set(painted.values()) == {1}
    assert set(painted) == set(in_sight)
    assert glass(page, "Loss").bounding_box() == place, "the charts jump under the pointer"
    assert 0 < len(in_sight) < page.locator(".panel canvas").count()
    last = glass(page, "Host memory")
    assert last.get_attribute("aria-valuemax") == "60"  # it rests
    last.scroll_into_view_if_needed()
    expect(last).not_to_have_attribute("aria-valuemax", "60")


def test_a_move_of_less_than_a_step_is_not_lost(page: Page, server: str) -> None:
    page.goto(server)
    glass(page, "Loss").focus()
    for _ in range(4):
        page.keyboard.press("+")
    before = shown(page)
    assert before[1] - before[0] <= 4
    page.mouse.move(300, 600)
    glass(page, "Loss").hover()
    for _ in range(20):
        page.mouse.wheel(12, 0)
        page.wait_for_timeout(20)
    assert shown(page)[0] > before[0]


def test_a_nan_is_heard_at_its_step(page: Page, server: str) -> None:
    page.goto(server)
    loss = glass(page, "Loss")
    loss.focus()
    page.keyboard.press("Home")
    for _ in range(NAN_STEP - 1):
        page.keyboard.press("ArrowRight")
    expect(loss).to_have_attribute("aria-valuetext", re.compile(f"^step {NAN_STEP}: Step loss NaN"))


def test_a_spike_of_one_step_is_drawn_at_every_zoom(page: Page, tmp_path: Path) -> None:
    steps = [
        sample(step, **({"loss/step": 99.5} if step == SPIKE else {})) for step in range(1, LONG)
    ]
    write(tmp_path / "long", [run_record("long"), *metric_records(), *steps])
    with serving(tmp_path) as address:
        page.goto(address)
        loss = glass(page, "Loss")
        expect(loss).to_have_attribute("aria-valuemax", str(LONG - 1))
        assert crosses(page, loss, SPIKE) > 0.9
        for first, last in ((8_000, 20_000), (12_000, 12_600), (12_340, 12_350)):
            loss.dblclick()
            with page.expect_response(re.compile(rf"series\?first={first}&last={last}$")):
                page.get_by_role("spinbutton", name="Last step shown").fill(str(last))
                page.keyboard.press("Enter")
                page.get_by_role("spinbutton", name="First step shown").fill(str(first))
                page.keyboard.press("Enter")
            expect(loss).to_have_attribute("aria-valuemax", str(last))
            assert crosses(page, loss, SPIKE) > 0.9, (first, last)
        # The finer points are there, not only the thinned ones: each step has its own value.
        loss.focus()
        page.keyboard.press("Home")
        for step in range(12_341, 12_346):
            page.keyboard.press("ArrowRight")
            expect(loss).to_have_attribute("aria-valuenow", str(step))
        expect(loss).to_have_attribute("aria-valuetext", re.compile(r"Step loss 99\.5.nats"))
        page.goto("about:blank")


def crosses(page: Page, loss: Locator, step: int) -> float:
    """The share of rows in the middle of the plot that hold paint at `step`, grid lines aside."""
    places = []
    for key in ("Home", "End"):
        loss.focus()
        page.keyboard.press(key)
        at = int(loss.get_attribute("aria-valuenow") or "")
        left = loss.locator(".cursor").evaluate("(cursor) => parseFloat(cursor.style.left)")
        places.append((at, left))
    (first, left), (last, right) = places
    a_step = (right - left) / (last - first)
    x = left + (step - first) * a_step
    page.mouse.move(5, 5)
    loss.blur()
    found: float = (
        panel(page, "loss")
        .locator("canvas")
        .first.evaluate(CROSSES, [x - a_step - 2, x + a_step + 2])
    )
    return found


CROSSES = """(canvas, [from, to]) => {
    const { width, height } = canvas;
    const copy = new OffscreenCanvas(width, height)
        .getContext("2d", { willReadFrequently: true });
    copy.drawImage(canvas, 0, 0);
    let [rows, hit] = [0, 0];
    for (let y = Math.round(0.35 * height); y < 0.65 * height; y += 1) {
        const { data } = copy.getImageData(0, y, width, 1);
        const painted = Array.from({ length: width }, (_, x) => data[4 * x + 3] > 60);
        if (painted.filter(Boolean).length > width / 2) continue;  // a grid line
        rows += 1;
        hit += painted.slice(Math.max(0, Math.floor(from)), Math.ceil(to)).some(Boolean);
    }
    return hit / rows;
}"""


def test_alerts_evaluations_and_checkpoints_stand_on_the_time_axis(page: Page, server: str) -> None:
    page.goto(server)
    strip = panel(page, "loss").get_by_role("toolbar")
    marks = strip.get_by_role("button")
    expect(marks).to_have_count(4)  # 20, 33, 40, 60
    expect(marks.nth(1)).to_have_accessible_name(
        re.compile(f"step {NAN_STEP}: critical loss-not-finite opened: step loss is NaN")
    )
    expect(marks.first).to_have_accessible_name(
        re.compile(r"step 20: checkpoint-20 saved, recommended; step 20: evaluation: EM 43\.3")
    )
    assert marks.nth(1).get_attribute("tabindex") == "-1"
    marks.first.focus()
    expect(strip.locator(".tip")).to_contain_text("checkpoint-20 saved, recommended")
    page.keyboard.press("ArrowRight")
    expect(marks.nth(1)).to_be_focused()
    expect(strip.locator(".tip")).to_contain_text("critical loss-not-finite opened")
    page.keyboard.press("Enter")
    expect(head(page, "alerts")).to_be_focused()
    marks.last.hover()
    expect(strip.locator(".tip")).to_contain_text("step 60")


def test_a_line_can_be_hidden_and_shown_again(page: Page, server: str) -> None:
    page.goto(server)
    key = panel(page, "loss").get_by_role("button", name=re.compile("^Token entropy"))
    expect(key).to_have_attribute("aria-pressed", "true")
    loss = glass(page, "Loss")
    expect(loss).to_have_attribute("aria-valuetext", re.compile("Token entropy"))
    key.click()
    expect(key).to_have_attribute("aria-pressed", "false")
    expect(loss).not_to_have_attribute("aria-valuetext", re.compile("Token entropy"))
    key.click()
    expect(loss).to_have_attribute("aria-valuetext", re.compile("Token entropy"))


def test_the_log_scale_says_which_points_it_cannot_show(
    page: Page, server: str, runs: Path
) -> None:
    write(runs / "first", [sample(61, **{"loss/step": 0.0})])
    page.goto(server)
    loss = panel(page, "loss")
    expect(loss).not_to_contain_text("no place on a log scale")
    loss.get_by_role("button", name="log scale").click()
    expect(loss).to_contain_text(re.compile("[1-9] points are 0 or below"))
    page.reload()
    expect(loss.get_by_role("button", name="log scale")).to_have_attribute("aria-pressed", "true")


def test_the_fixed_eval_marks_what_to_use_and_draws_reliability(page: Page, server: str) -> None:
    page.goto(server)
    held = panel(page, "fixed-eval")
    diagram = held.get_by_role("img", name="Reliability diagram")
    expect(diagram).to_have_accessible_name(
        re.compile(r"at 80\.0.% confidence 72\.0.% right, n 1,200")
    )
    expect(held).to_contain_text("0.02 would be expected of perfect calibration")
    expect(held).to_contain_text(re.compile(r"overconfident by 8\.0.points"))
    held.get_by_text("All evaluations (3)").click()
    rows = held.get_by_role("region", name="All evaluations").locator("tbody tr")
    expect(rows).to_have_count(3)
    expect(rows.last).to_contain_text("★ checkpoint-20, recommended")


def test_the_heatmap_shows_rates_coverage_and_change(page: Page, server: str) -> None:
    page.goto(server)
    patterns = panel(page, "patterns")
    row = patterns.get_by_role("row", name=re.compile("^coding"))
    cell = row.get_by_role("link").first
    expect(cell).to_have_accessible_name(re.compile(r"^coding, 0–100 tokens: 100\.0.%, .*, n 20"))
    target = cell.get_attribute("href") or ""
    assert target.endswith("#/run/first/examples?pattern=coding&bin=0-100")
    patterns.get_by_text("coverage").click()
    expect(cell).to_contain_text("20 right")
    patterns.get_by_text("since step 40").click()
    # Every second one is coding: of those, 17 of 20 were right when 33 of the 60 were, and all are now.
    expect(cell).to_contain_text(re.compile(r"\+15\.0.points"))
    expect(cell).to_contain_text("+3 −0 of 20")
    expect(patterns).to_contain_text("the same examples paired")
    page.reload()
    expect(cell).to_contain_text("+3 −0 of 20")


def test_earlier_readings_of_the_layers_can_be_looked_at(page: Page, server: str) -> None:
    page.goto(server)
    lora = panel(page, "lora")
    slider = lora.get_by_role("slider", name="Reading of the layers")
    expect(slider).to_have_attribute("aria-valuetext", "step 60")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    expect(lora).to_contain_text("layers by depth at step 20")
    expect(slider).to_have_attribute("aria-valuetext", "step 20")
    lora.get_by_role("button", name="Latest").click()
    expect(lora).to_contain_text("layers by depth at step 60")
    heat = lora.get_by_role("img", name=re.compile("of 2 kinds of module in 8 layers"))
    expect(heat).to_have_accessible_name(re.compile("^moved .*: most 0.80.% in "))
    lora.get_by_text("state", exact=True).click()
    expect(heat).to_have_accessible_name("State of 2 kinds of module in 8 layers: 1 not ok.")
    expect(lora.locator(".heat-cell.off")).to_have_text("▲")


def test_a_reading_of_the_layers_that_a_resume_took_back_is_not_shown_again(
    page: Page, server: str, runs: Path
) -> None:
    page.goto(server)
    lora = panel(page, "lora")
    slider = lora.get_by_role("slider", name="Reading of the layers")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(lora).to_contain_text("layers by depth at step 40")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    write(runs / "first", [resumed(30), sample(31)])
    expect(lora).to_contain_text("layers by depth at step 20")
    again = [record for record in recorded("first") if isinstance(record, Layers)]
    write(runs / "first", [record for record in again if record.step >= 40])
    expect(lora).to_contain_text("layers by depth at step 60")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    expect(lora).to_contain_text("layers by depth at step 40")
    assert any(url.endswith("/layers/40") for url in asked)


def spike(step: int, state: State, message: str = "loss is 3 x its median") -> Verdict:
    return Verdict(
        step=step,
        time=STARTED + step,
        rule="loss-spike",
        state=state,
        level="warning",
        message=message,
        action="Look at the batch.",
        evidence={"factor": 3.0},
    )


def test_an_acknowledgement_is_seen_in_every_browser_until_the_alert_opens_again(
    page: Page, chromium: Browser, server: str, runs: Path
) -> None:
    write(runs / "first", [spike(50, "open")])
    page.goto(server)
    alerts = panel(page, "alerts")
    card = alerts.locator(".alert", has_text="loss-spike")
    colleague = chromium.new_context(locale="en-GB").new_page()
    colleague.goto(server)
    theirs = panel(colleague, "alerts").locator(".alert", has_text="loss-spike")
    expect(theirs.get_by_role("button", name="Acknowledge loss-spike")).to_be_visible()
    card.get_by_role("button", name="Acknowledge loss-spike").click()
    expect(card).to_contain_text(re.compile("acknowledged by hand at .*; it is still open"))
    expect(alerts).to_contain_text("2 open")
    expect(theirs).to_contain_text("acknowledged by hand at")  # without a reload of theirs
    expect(alerts.locator(".alert", has_text="loss-not-finite")).not_to_contain_text("by hand")
    page.reload()
    expect(card).to_contain_text("acknowledged by hand at")
    theirs.get_by_role("button", name="Withdraw the acknowledgement of loss-spike").click()
    expect(card.get_by_role("button", name="Acknowledge loss-spike")).to_be_visible()
    card.get_by_role("button", name="Acknowledge loss-spike").click()
    expect(theirs).to_contain_text("acknowledged by hand at")
    write(runs / "first", [spike(58, "escalated")])
    for each in (card, theirs):
        expect(each.get_by_role("button", name="Acknowledge loss-spike")).to_be_visible()
        expect(each).not_to_contain_text("by hand")
    colleague.context.close()


def test_the_history_tells_all_an_alert_went_through(page: Page, server: str, runs: Path) -> None:
    states: list[tuple[int, State]] = [
        (50, "pending"),
        (52, "open"),
        (57, "resolved"),
        (60, "closed"),
    ]
    write(runs / "first", [spike(step, state) for step, state in states])
    page.goto(server)
    alerts = panel(page, "alerts")
    alerts.get_by_text("History (2)").click()
    rows = alerts.get_by_role("region", name="History of the alerts").locator("tbody tr")
    expect(rows).to_have_count(5)
    for i, (step, state) in enumerate(states):
        expect(rows.nth(i)).to_contain_text(re.compile(f"{state}.*{step}"))
    expect(rows.nth(4)).to_contain_text("loss-not-finite")


def test_a_panel_moves_by_keyboard_and_by_menu_and_stays_there(page: Page, server: str) -> None:
    page.goto(server)
    titles = page.locator(".panel-title")
    expect(titles).to_have_count(9)
    assert titles.all_inner_texts()[:3] == ["Loss", "Fixed Eval", "Pattern × Length"]
    head(page, "patterns").focus()
    page.keyboard.press("Alt+ArrowUp")
    page.keyboard.press("Alt+ArrowUp")
    assert titles.all_inner_texts()[:3] == ["Pattern × Length", "Loss", "Fixed Eval"]
    expect(head(page, "patterns")).to_be_focused()
    expect(
        page.get_by_role("status").filter(has_text="Pattern × Length is now panel 1 of 9")
    ).to_have_count(1)
    page.reload()
    expect(titles).to_have_count(9)
    assert titles.all_inner_texts()[:3] == ["Pattern × Length", "Loss", "Fixed Eval"]
    page.get_by_role("button", name="Options of Pattern × Length").click()
    page.get_by_role("button", name="Move down").click()
    assert titles.all_inner_texts()[:3] == ["Loss", "Pattern × Length", "Fixed Eval"]
    panel(page, "fixed-eval").locator(".grip").drag_to(panel(page, "loss").locator("h2"))
    assert titles.all_inner_texts()[:3] == ["Fixed Eval", "Loss", "Pattern × Length"]


def test_a_panel_fills_the_screen_and_escape_brings_the_page_back(page: Page, server: str) -> None:
    page.goto(server)
    opener = page.get_by_role("button", name="Options of Loss")
    opener.click()
    page.get_by_role("button", name="Full screen").click()
    dialog = page.get_by_role("dialog", name="Loss")
    box = dialog.bounding_box()
    assert box is not None
    assert (box["width"], box["height"]) == (1400, 900)
    chart = dialog.get_by_role("img", name="Loss over optimizer steps").bounding_box()
    assert chart is not None
    assert chart["height"] > 450
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(panel(page, "loss").get_by_role("img", name="Loss over optimizer steps")).to_be_visible()


def test_the_panels_stand_in_two_columns_of_like_height(page: Page, server: str) -> None:
    page.goto(server)
    expect(page.locator(".panels.two")).to_be_visible()
    boxes = [b for b in (p.bounding_box() for p in page.locator(".panel:not(.wide)").all()) if b]
    for a in boxes:
        for b in boxes:
            apart = (
                a is b
                or a["x"] + a["width"] <= b["x"]
                or b["x"] + b["width"] <= a["x"]
                or a["y"] + a["height"] <= b["y"]
                or b["y"] + b["height"] <= a["y"]
            )
            assert apart, (a, b)
    left = max(b["y"] + b["height"] for b in boxes if b["x"] < 700)
    right = max(b["y"] + b["height"] for b in boxes if b["x"] >= 700)
    total = sum(b["height"] for b in boxes)
    assert abs(left - right) < total / 4


CHART = "Loss, nats per token, by optimizer step"


def test_every_picture_is_saved_as_png_and_svg(page: Page, server: str) -> None:
    page.goto(server)
    pictures = {
        "Loss": (CHART, ["Streaming CE", "0.4463"]),
        "Fixed Eval": ("Reliability diagram", ["100%", "accuracy by confidence"]),
        "Pattern × Length": ("Pattern by length", ["coding", "100.0"]),
        "Speed": ("Where the time goes", ["waiting for data"]),
        "LoRA Layers": ("Layers by depth", ["moved", "impact"]),
    }
    for title, (name, words) in pictures.items():
        open_menu(page, title)
        svg = save(page, name, "SVG")
        text = svg.path().read_text("utf-8")
        ElementTree.fromstring(text)  # well-formed
        for word in words:
            assert word in text, (title, word)
        assert "<script" not in text
        open_menu(page, title)
        png = save(page, name, "PNG").path().read_bytes()
        assert png[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = struct.unpack(">II", png[16:24])
        assert width > 400
        assert height > 100
        assert len(png) > 4_000, title
    assert svg.suggested_filename == "first-layers-by-depth.svg"


def test_every_table_is_saved_with_its_exact_numbers(page: Page, server: str) -> None:
    page.goto(server)
    open_menu(page, "Loss")
    with save(page, CHART, "CSV").path().open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 60
    assert rows[NAN_STEP - 1]["Step loss"] == "NaN"
    assert float(rows[0]["Streaming CE"]) == pytest.approx(1.9506198, rel=1e-6)
    assert rows[19]["Held-out CE low"] == "0.5"
    open_menu(page, "Pattern × Length")
    whole = json.loads(save(page, "Pattern by length", "JSON").path().read_text("utf-8"))
    assert whole[0]["Pattern"] == "coding"
    assert whole[0]["all"] == pytest.approx(20 / 27)
    panel(page, "lora").get_by_text("All 8 layers by kind", exact=True).click()
    open_menu(page, "LoRA Layers")
    layers = json.loads(save(page, "Layers, moved", "JSON").path().read_text("utf-8"))
    assert [row["all"] for row in layers] == pytest.approx([0.001 * (i + 1) for i in range(8)])


def test_settings_environment_and_training_data_are_saved_as_they_were_recorded(
    page: Page, tmp_path: Path
) -> None:
    settings = {
        "lr": 0.0123456,
        "seed": 12345678901,
        "packing": True,
        "name": "007",
        "warmup": None,
        "eval": {"every": 20, "at": [1, 2.5]},
        "tiny": 1.23456789e-9,
    }
    run = msgspec.structs.replace(
        run_record("first"), config=settings, environment={"cuda": "12.80"}
    )
    data = Data(
        time=STARTED,
        path="train.jsonl",
        rows=123_456,
        looked_at=100_001,
        tokens=7_654_321,
        label_tokens=1_234_567,
        longest=90,
        found={"duplicate": Rows(n=2, rows=[3, 9], partners=[1, 2])},
    )
    write(tmp_path / "exact" / "first", [run, data, sample(1)])

    def saved(name: str) -> tuple[dict[str, str], dict[str, object]]:
        open_menu(page, "Run Details")
        with save(page, name, "CSV").path().open(encoding="utf-8") as file:
            text = {row["name"]: row["value"] for row in csv.DictReader(file)}
        open_menu(page, "Run Details")
        rows = json.loads(save(page, name, "JSON").path().read_text("utf-8"))
        return text, {row["name"]: row["value"] for row in rows}

    with serving(tmp_path / "exact") as address:
        page.goto(f"{address}/run/first")
        head(page, "details").click()
        for title in ("Settings", "Environment"):
            panel(page, "details").get_by_text(title, exact=True).click()
        text, exact = saved("Settings")
        assert exact == {
            "lr": 0.0123456,
            "seed": 12345678901,
            "packing": "true",
            "name": "007",
            "warmup": None,
            "eval.every": 20,
            "eval.at": "[1,2.5]",
            "tiny": 1.23456789e-9,
        }
        assert text["lr"] == "0.0123456"
        assert text["packing"] == "true"
        assert float(text["tiny"]) == 1.23456789e-9
        assert saved("Environment")[1] == {"cuda": "12.80"}
        _, found = saved("Training data")
        assert json.loads(str(found["rows"])) == {"rows": 123_456, "looked_at": 100_001}
        labels = json.loads(str(found["tokens the loss is computed on"]))
        assert (labels["label_tokens"], labels["tokens"]) == (1_234_567, 7_654_321)
        assert json.loads(str(found["duplicate"]))["rows"] == [3, 9]
        assert saved("Run")[1]["started"] == run.time


def test_the_headline_tells_the_budget_and_the_rows_to_look_at(
    page: Page, server: str, runs: Path
) -> None:
    budget = {
        "steps_saved": 20,
        "total_steps": 80,
        "best_step": 40,
        "last_step": 60,
        "steps_wasted": 20,
        "steps_made": 60,
    }
    decision = Decision(
        step=60,
        time=STARTED + 61,
        action="stop",
        checkpoint="checkpoint-40",
        tied=["checkpoint-40", "checkpoint-60"],
        reason="exact match is flat",
        evidence=budget,
    )
    found = {"duplicate": Rows(n=2, rows=[3, 9], partners=[1, 2])}
    data = Data(
        time=STARTED,
        path="train.jsonl",
        rows=100,
        looked_at=100,
        tokens=1000,
        label_tokens=250,
        longest=90,
        found=found,
    )
    write(runs / "first", [data, decision, *eval_records(62, right=41)])
    page.goto(server)
    summary = page.get_by_role("region", name="Summary")
    expect(summary).to_contain_text("Stop training. Use checkpoint-40. Exact match is flat")
    expect(summary).to_contain_text("tied with checkpoint-60")
    expect(summary).to_contain_text("Stopping now saves20 stepsof 80")
    expect(summary).to_contain_text("Without measurable gain20 stepsfrom step 40 to 60, of 60 made")
    expect(summary).to_contain_text(re.compile(r"Trendimproving\+[\d.]+ points"))
    with page.expect_download() as file:
        summary.get_by_role("link", name="rows to look at").click()
    rows = [json.loads(line) for line in file.value.path().read_text().splitlines()]
    assert [row["line"] for row in rows if row["why"] == "duplicate"] == [3, 9]
    head(page, "details").click()
    details = panel(page, "details")
    expect(details).to_contain_text("25.0\u202f%: 250 of 1,000")
    expect(details).to_contain_text("2 rows (2.0\u202f%): 3, 9")


def test_a_number_that_no_metric_explains_goes_by_its_name_alone(
    page: Page, server: str, runs: Path
) -> None:
    name = "a_name_that_is_longer_than_any_line/of_a_narrow_page/rewards/margins"
    write(runs / "first", [sample(step, **{name: step / 8}) for step in (63, 64)])
    page.set_viewport_size({"width": 390, "height": 800})
    page.goto(server)
    row = panel(page, "signals").locator("li", has_text=name)
    expect(row).to_have_text(re.compile(rf"^{name}8$"))
    row.scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_it_is_said_why_a_promised_number_is_not_there(page: Page, server: str, runs: Path) -> None:
    why = "no model FLOPs utilisation (MFU): no peak FLOP/s is known of a toaster"
    write(runs / "first", [Note(step=60, time=STARTED + 60, topic="signal", text=why)])
    page.goto(f"{server}/run/first")
    expect(panel(page, "speed").locator(".small-print")).to_have_text(f"N{why[1:]}.")
    expect(panel(page, "loss").locator(".small-print")).to_have_text(
        "No learning rate, because the trainer told of none."
    )


def test_the_log_tells_the_notes_latest_first(page: Page, server: str, runs: Path) -> None:
    notes = [Note(step=n, time=STARTED + n, topic="data", text=f"note {n}") for n in (5, 50)]
    write(runs / "first", notes)
    page.goto(server)
    head(page, "log").click()
    rows = panel(page, "log").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("note 50")


def test_a_checkpoint_that_is_gone_is_no_mark(page: Page, server: str, runs: Path) -> None:
    gone = Checkpoint(step=40, time=STARTED + 62, path="checkpoint-40", gone=True)
    write(runs / "first", [gone])
    page.goto(server)
    strip = panel(page, "loss").get_by_role("toolbar")
    expect(strip.get_by_role("button", name="step 40")).not_to_have_accessible_name(
        re.compile("checkpoint-40")
    )


def test_what_is_old_looks_old(chromium: Browser, runs: Path) -> None:
    page = chromium.new_page()
    with serving(runs) as address:
        page.goto(f"{address}/run/first")
        expect(panel(page, "loss").locator("canvas").first).to_be_visible()
    expect(page.locator("main.stale")).to_be_visible()
    style = panel(page, "loss").evaluate("(each) => getComputedStyle(each).borderStyle")
    assert style == "dashed"
    page.close()


def test_new_steps_extend_the_charts_unless_a_range_is_set(
    page: Page, server: str, runs: Path
) -> None:
    page.goto(server)
    loss = glass(page, "Loss")
    expect(loss).to_have_attribute("aria-valuemax", "60")
    write(runs / "first", [sample(61)])
    expect(loss).to_have_attribute("aria-valuemax", "61")
    drag(page, loss, 0.4, 0.7)
    before = shown(page)
    write(runs / "first", [sample(62)])
    expect(page.get_by_role("region", name="Summary")).to_contain_text("step 62 of 80")
    assert shown(page) == before


def test_a_run_of_no_evaluations_has_all_its_panels(page: Page, tmp_path: Path) -> None:
    plain = [
        record for record in recorded("plain") if record.__class__.__name__ in ("Run", "Sample")
    ]
    write(tmp_path / "plain", plain)
    with serving(tmp_path) as address:
        page.goto(address)
        expect(glass(page, "Loss")).to_be_visible()
        expect(panel(page, "loss")).not_to_contain_text("Held-out CE")
        expect(panel(page, "loss").get_by_role("toolbar")).to_have_count(0)
        expect(panel(page, "fixed-eval").locator(".empty")).to_be_visible()
        page.goto("about:blank")


def test_the_other_signals_are_a_list_or_charts_on_the_shared_range(
    page: Page, server: str, tmp_path: Path
) -> None:
    page.goto(server)
    signals = panel(page, "signals")
    expect(signals.locator(".signal-name").first).to_be_visible()
    names = signals.locator(".signal-name").count()
    assert names > 3
    signals.get_by_role("radio", name="charts").check(force=True)
    expect(signals.locator("canvas")).to_have_count(names)
    page.reload()
    expect(panel(page, "signals").locator("canvas")).to_have_count(names)
    panel(page, "signals").get_by_role("radio", name="list").check(force=True)
    expect(panel(page, "signals").locator("svg.spark")).to_have_count(names)
    write(tmp_path / "own" / "run", [run_record(), Sample(step=3, time=1.0, values={"mine": 2.0})])
    with serving(tmp_path / "own") as address:  # nothing that heldout knows: drawn large at once
        page.evaluate("localStorage.clear()")
        page.goto(address)
        expect(panel(page, "signals").locator("canvas")).to_have_count(1)
        expect(panel(page, "loss")).to_contain_text("none is among the numbers recorded")
