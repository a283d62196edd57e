"""What the tests of the page look at: panels by id, and the pixels of charts."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect


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
        """(canvas) => {
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
