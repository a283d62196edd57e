"""Every page as a picture, compared with a small one kept beside: light and dark, wide and narrow.

A stored picture has one pixel for each 12 x 12 of the page, its mean colour. All text is drawn in a font
of boxes that the test brings along, so that machines with other fonts lay the page out alike, and what
depends on the day is left out. A cell fits when its colour is found in the same place or next to it in
the other picture, so that a shift of a few pixels changes nothing; a lost chart, a panel that is hidden
or overlaps, text that runs out of its box and a wrong colour do.

To take the pictures anew after a change that is meant:

    HELDOUT_PICTURES=new pytest tests/views/web/test_pictures.py

Look at what has changed in `pictures/` before it is committed.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from box_font import box_font
from playwright.sync_api import Browser, Page, expect
from recorded_run import open_alert, recorded, write
from recorded_set import write_capitals
from serving import serving
from test_compare_page import two
from test_runs_page import several

from heldout.views.web.app import STATIC

PICTURES = Path(__file__).parent / "pictures"
IS_NEW = os.environ.get("HELDOUT_PICTURES") == "new"
CELL_PIXELS = 12
OFF = 16
"""A cell differs where a channel, of 0 to 255, is off by more."""
MOST_CELLS = 12
"""As many may differ: what machines draw a little differently. Seen on one machine: 0."""
MOST_BYTES = 300_000

PAGES = {
    "runs": ("#/runs", ".run-name", 6),
    "run": ("run/first", ".panel", 9),
    "examples": ("#/run/capitals/examples", ".example", 6),
    "compare": ("#/compare?runs=one,two,first", ".panel canvas", 4),
}
"""The address of each, and what has to be there how often before it is looked at."""

BOXES = """(font) => {
    const bytes = Uint8Array.from(atob(font), (sign) => sign.charCodeAt(0));
    document.fonts.add(new FontFace("Boxes", bytes, { weight: "100 900" }));
    const dress = () => {
        for (const name of ["--font", "--mono"]) {
            document.documentElement.style.setProperty(name, "Boxes");
        }
        const style = document.createElement("style");
        style.textContent = `* { text-rendering: geometricPrecision; font-synthesis: none; }
            .age, td[data-label="Last record"] { font-size: 0 !important; }
            select, input, textarea { appearance: none !important; }`;
        document.head.append(style);
    };
    new MutationObserver((_, observer) => {
        if (!document.head) return;
        observer.disconnect();
        dress();
    }).observe(document, { childList: true, subtree: true });
}"""

COMPARER = """
const CELL = CELL_PIXELS;
async function pixels(png) {
    const bytes = Uint8Array.from(atob(png), (sign) => sign.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const canvas = new OffscreenCanvas(image.width, image.height);
    const paper = canvas.getContext("2d", { willReadFrequently: true });
    paper.drawImage(image, 0, 0);
    return paper.getImageData(0, 0, image.width, image.height);
}
/** The mean colour of each cell. */
async function shrunk(png) {
    const { data, width, height } = await pixels(png);
    const [columns, rows] = [Math.floor(width / CELL), Math.floor(height / CELL)];
    const small = new ImageData(columns, rows);
    for (let row = 0; row < rows; row += 1) for (let column = 0; column < columns; column += 1) {
        const sums = [0, 0, 0];
        for (let y = row * CELL; y < (row + 1) * CELL; y += 1) {
            for (let x = column * CELL; x < (column + 1) * CELL; x += 1) {
                for (let c = 0; c < 3; c += 1) sums[c] += data[4 * (y * width + x) + c];
            }
        }
        const at = 4 * (row * columns + column);
        for (let c = 0; c < 3; c += 1) small.data[at + c] = Math.round(sums[c] / CELL / CELL);
        small.data[at + 3] = 255;
    }
    return small;
}
async function stored(small) {
    const canvas = new OffscreenCanvas(small.width, small.height);
    canvas.getContext("2d").putImageData(small, 0, 0);
    const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
    return btoa([...bytes].map((byte) => String.fromCharCode(byte)).join(""));
}
/** The cells of `a` whose colour is not found around the same place of `b`. */
function missing(a, b, off) {
    const found = [];
    for (let row = 0; row < a.height; row += 1) for (let column = 0; column < a.width; column += 1) {
        const at = 4 * (row * a.width + column);
        for (let c = 0; c < 3; c += 1) {
            let [low, high] = [255, 0];
            for (let y = Math.max(0, row - 1); y <= Math.min(b.height - 1, row + 1); y += 1) {
                for (let x = Math.max(0, column - 1); x <= Math.min(b.width - 1, column + 1); x += 1) {
                    const value = b.data[4 * (y * b.width + x) + c];
                    low = Math.min(low, value);
                    high = Math.max(high, value);
                }
            }
            if (a.data[at + c] < low - off || a.data[at + c] > high + off) {
                found.push([column * CELL, row * CELL]);
                break;
            }
        }
    }
    return found;
}
async function compared(png, known, off) {
    const [a, b] = [await shrunk(png), await pixels(known)];
    const cells = new Map([...missing(a, b, off), ...missing(b, a, off)].map((cell) => [String(cell), cell]));
    return { now: [a.width, a.height], then: [b.width, b.height], cells: [...cells.values()] };
}
""".replace("CELL_PIXELS", str(CELL_PIXELS))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run that has an alert of two levels and a note, by a path without the machine's."""
    monkeypatch.chdir(tmp_path)  # the settings show where the set's file is
    root = Path("runs")
    write(root / "first", recorded())
    write(root / "first", open_alert())
    return root


@pytest.fixture
def looker(chromium: Browser) -> Iterator[Page]:
    """An empty page that compares pictures."""
    page = chromium.new_page()
    page.goto("about:blank")
    page.add_script_tag(content=COMPARER)
    yield page
    page.close()


def taken(
    chromium: Browser, address: str, name: str, scheme: str, width: int, *, spoiled: str = ""
) -> str:
    """A picture of the whole page, as base64; `spoiled` are styles that break it."""
    path, selector, count = PAGES[name]
    context = chromium.new_context(
        viewport={"width": width, "height": 900},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
        bypass_csp=True,
    )
    font = base64.b64encode(box_font()).decode()
    context.add_init_script(f"({BOXES})('{font}')")
    page = context.new_page()
    page.goto(f"{address}/{path}")
    expect(page.locator(selector)).to_have_count(count)
    expect(page.locator(".badge")).to_contain_text("live")
    if spoiled:
        page.add_style_tag(content=spoiled)
    page.evaluate("document.fonts.ready")
    page.evaluate("() => new Promise((done) => setTimeout(done, 300))")
    picture = base64.b64encode(page.screenshot(full_page=True, animations="disabled")).decode()
    context.close()
    return picture


def different(looker: Page, picture: str, known: Path) -> dict[str, Any]:
    """Which cells of a picture are not as in the stored one, by their corner in pixels."""
    then = base64.b64encode(known.read_bytes()).decode()
    found: dict[str, Any] = looker.evaluate(
        "([png, known, off]) => compared(png, known, off)", [picture, then, OFF]
    )
    return found


def where(cells: list[list[int]]) -> str:
    """The box around the cells, in pixels of the page."""
    x, y = [cell[0] for cell in cells], [cell[1] for cell in cells]
    return f"x {min(x)} to {max(x) + CELL_PIXELS}, y {min(y)} to {max(y) + CELL_PIXELS}"


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_looks_as_it_did(
    chromium: Browser, looker: Page, root: Path, tmp_path: Path, name: str, scheme: str, width: int
) -> None:
    assert (STATIC / "index.html").is_file(), "the page is not built: make web"
    known = PICTURES / f"{name}-{scheme}-{width}.png"
    picture = photograph(chromium, root, name, scheme, width)
    if IS_NEW:
        small = looker.evaluate("(png) => shrunk(png).then(stored)", picture)
        known.parent.mkdir(exist_ok=True)
        known.write_bytes(base64.b64decode(small))
    found = different(looker, picture, known)
    cells = found["cells"]
    if len(cells) > MOST_CELLS:
        seen = tmp_path / f"{known.stem}-now.png"
        seen.write_bytes(base64.b64decode(picture))
        pytest.fail(
            f"{len(cells)} cells of {known.name} are not as they were ({found['then']} cells then, "
            f"{found['now']} now): {where(cells)}. The page as it is now: {seen}. If it is meant: "
            "HELDOUT_PICTURES=new pytest tests/views/web/test_pictures.py"
        )


def photograph(
    chromium: Browser, root: Path, name: str, scheme: str, width: int, *, spoiled: str = ""
) -> str:
    """Serve the runs that the page needs, and take its picture."""
    if name == "runs":
        several(root)
        write_capitals(root)
        write(root / "young", recorded("young")[:40])
    elif name == "compare":
        two(root)
    elif name == "examples":
        write_capitals(root)
    with serving(root) as address:
        return taken(chromium, address, name, scheme, width, spoiled=spoiled)


@pytest.mark.parametrize(
    ("name", "scheme", "width", "spoiled"),
    [
        ("run", "light", 1400, "#panel-speed { display: none; }"),
        ("run", "light", 1400, "#panel-speed .figure:last-child canvas { visibility: hidden; }"),
        ("run", "dark", 1400, ":root { --surface: #ffffff !important; }"),
        ("run", "dark", 390, ":root { --ink: #181b1f !important; }"),
        ("run", "light", 390, ".fact { white-space: nowrap; width: 600px; }"),
        ("run", "light", 1400, ".alert { margin-bottom: -60px; }"),
        ("compare", "light", 1400, "canvas { filter: hue-rotate(180deg); }"),
        ("compare", "dark", 390, "#panel-compare-ece canvas { visibility: hidden; }"),
        ("examples", "light", 1400, ".went-right { fill: none; }"),
        ("examples", "dark", 390, ".example-answers { display: none; }"),
        ("runs", "light", 1400, ".curve-box .spark { visibility: hidden; }"),
        ("runs", "dark", 390, ".run-name { font-size: 2em; }"),
    ],
)
def test_what_is_broken_does_not_pass(
    chromium: Browser, looker: Page, root: Path, name: str, scheme: str, width: int, spoiled: str
) -> None:
    picture = photograph(chromium, root, name, scheme, width, spoiled=spoiled)
    found = different(looker, picture, PICTURES / f"{name}-{scheme}-{width}.png")
    assert len(found["cells"]) > MOST_CELLS, found


def test_the_pictures_are_small_and_none_is_left_over() -> None:
    stored = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    expected = {f"{n}-{s}-{w}.png" for n in PAGES for s in ("light", "dark") for w in (1400, 390)}
    assert set(stored) == expected
    assert sum(stored.values()) < MOST_BYTES
