"""What the tests of the page look at and do: panels by id, the pixels of charts, drags, saved files."""

from __future__ import annotations

import re

from playwright.sync_api import Download, Locator, Page, expect


def panel(page: Page, name: str) -> Locator:
    return page.locator(f"#panel-{name}")


def head(page: Page, name: str) -> Locator:
    return panel(page, name).locator("h2 button")


def painted(canvas: Locator) -> bool:
    """Whether the chart has drawn anything."""
    return count_pixels(canvas)["painted"] > 0


def reddish(canvas: Locator) -> int:
    """Pixels in the colour of trouble."""
    return count_pixels(canvas)["reddish"]


def count_pixels(canvas: Locator) -> dict[str, int]:
    expect(canvas).to_be_visible()
    found: dict[str, int] = canvas.evaluate(
        """async (canvas) => {
            // Its size is told within the next frame: what is painted then is there in the one after.
            for (let i = 0; i < 2; i += 1) await new Promise(requestAnimationFrame);
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height)
                .getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            const { data } = copy.getImageData(0, 0, width, height);
            const count = { painted: 0, reddish: 0 };
            for (let i = 0; i < data.length; i += 4) {
                const [r, g, b, a] = data.subarray(i, i + 4);
                if (a > 0) count.painted += 1;
                if (a > 128 && r > 150 && g < 80 && b < 80) count.reddish += 1;
            }
            return count;
        }"""
    )
    return found


def glass(page: Page, title: str, unit: str = "Step") -> Locator:
    """What lies over a chart and takes the keys and the pointer."""
    return page.get_by_role("slider", name=re.compile(f"^{unit} on {title}"))


def drag(page: Page, area: Locator, start: float, end: float) -> None:
    box = area.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + start * box["width"], middle)
    page.mouse.down()
    page.mouse.move(box["x"] + (start + end) / 2 * box["width"], middle)
    page.mouse.move(box["x"] + end * box["width"], middle)
    page.mouse.up()


def save(page: Page, name: str, kind: str) -> Download:
    with page.expect_download() as found:
        page.get_by_role("button", name=f"Save {name} as {kind}", exact=True).click()
    expect(page.locator(".menu-list")).to_have_count(0)
    return found.value


def open_menu(page: Page, title: str) -> None:
    button = page.get_by_role("button", name=f"Options of {title}")
    if button.get_attribute("aria-expanded") == "false":
        button.click()
