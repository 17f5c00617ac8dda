"""Pictures of views: compared with those that were kept, and kept anew with KEEP=1.

What differs from run to run is levelled before: digits, lists, charts, and the words of times.
"""

import io
import json
import os
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page

ROOT = Path(__file__).parents[2]
KEPT = Path(__file__).with_name("pictures")
FONTS = KEPT / "fonts.json"
README_PICTURE = ROOT / "docs" / "page.png"
_KEEP = bool(os.environ.get("KEEP"))
_SIZE = (320, 200)  # of a kept picture, a quarter of the window
_CELLS = (80, 50)  # that are compared: each is a mean over 16 x 16 pixels of the window
_MAX_DIFFERENCE = 24  # of 255, of a cell's red, green or blue: a word of another length is less, a missing part more
_MAX_SHARE = 0.02  # of cells that differ by more

# Text is changed in place, so that a view that draws itself anew from the same answers leaves it.
_MEASURE = r"""
const pen = document.createElement("canvas").getContext("2d");
return ["body", "code"].map((part) => {
  const element = document.querySelector(part) ?? document.body.appendChild(document.createElement(part));
  const { fontFamily } = getComputedStyle(element);
  pen.font = `100px ${fontFamily}`;
  return Math.round(pen.measureText("Handgloves 0123456789 mil").width);
});
"""

_LEVEL = r"""
const set = (parts, name, value) => {
  for (const part of document.querySelectorAll(parts)) part.style.setProperty(name, value);
};
set(".chart svg, .log, .meta, .crumbs, code, .histogram", "visibility", "hidden");
if (location.hash === "#/status") set(".bar i", "width", "50%"); // what other tests have stored
set("table.list, table.list ~ *, [aria-label='Keys'] tbody", "display", "none");
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode;
  const level = text.data.replace(/\b\w+_[0-9a-f]{6,}\b/g, "id").replace(/[\d.,]*\d(e[-+]?\d+)?/g, "0");
  if (level !== text.data) text.data = level;
}
"""


def are_fonts_as_before(page: Page) -> bool:
    """Whether the page's fonts are about as wide as in the pictures that were kept; with KEEP=1 they are kept."""
    widths = page.evaluate(f"(() => {{{_MEASURE}}})()")
    if _KEEP:
        FONTS.write_text(json.dumps(widths) + "\n", encoding="utf-8")
    before = json.loads(FONTS.read_text(encoding="utf-8"))
    return all(abs(width - kept) <= kept / 100 for width, kept in zip(widths, before, strict=True))


def reduced(page: Page) -> Image.Image:
    """The window as it is now, levelled, at a quarter of its width and height."""
    page.evaluate(f"(() => {{{_LEVEL}}})()")
    picture = Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide")))
    return picture.convert("RGB").resize(_SIZE, Image.Resampling.BOX)


def is_as_before(picture: Image.Image, name: str, folder: Path) -> bool:
    """Whether a picture is about the one that was kept; if not, it is put into `folder`. With KEEP=1 it is kept."""
    kept = KEPT / name
    if _KEEP:
        _save(picture, kept)
    if kept.is_file():
        before, now = (
            np.asarray(one.convert("RGB").resize(_CELLS, Image.Resampling.BOX), np.int16)
            for one in (Image.open(kept), picture)
        )
        differs = np.abs(before - now).max(-1) > _MAX_DIFFERENCE  # (50, 80)
        if differs.mean() <= _MAX_SHARE:
            return True
    picture.save(folder / name)
    return False


def keep_readme_picture(page: Page) -> None:
    """With KEEP=1 take the picture that the README shows."""
    if _KEEP:
        _save(Image.open(io.BytesIO(page.screenshot(animations="disabled", caret="hide"))), README_PICTURE)


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    few = picture.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
