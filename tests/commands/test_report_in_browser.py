"""The report as a reader has it: in Chromium, light and dark, on a phone, without a network.

`make test-report` installs what drives the browser; without it, or a browser, nothing is run here.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_results import write_results

from goldrm.commands.report_page.page import render

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no Chromium is installed to look at the report", allow_module_level=True)
sync_api = pytest.importorskip(
    "playwright.sync_api", reason="what drives a browser is missing: see make test-report"
)
pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep.value:DeprecationWarning")

PHONE = {"width": 375, "height": 740}
DESK = {"width": 1200, "height": 900}
SEARCHED = 'figure:has-text("Pairs of unseen families")'
# Of each text that is seen: itself, its colour, and the colours behind it, the nearest first.
COLOURS_OF_TEXTS = """() => {
  const behind = (e) => e ? [getComputedStyle(e).backgroundColor, ...behind(e.parentElement)] : [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const found = [];
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim(), e = texts.currentNode.parentElement;
    if (!text || !e.checkVisibility() || e.closest("script, style, .disabled")) continue;
    const style = getComputedStyle(e);
    found.push([text, e.closest("svg") ? style.fill : style.color, behind(e)]);
  }
  return found;
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("project")
    write_results(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        (folder / "report.html").write_text(render())
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def look(browser: Any, address: str) -> Iterator[Any]:
    """A function that opens the report; whatever the page complains of fails the test."""
    complaints: list[str] = []
    asked_for: list[str] = []
    opened: list[Any] = []

    def look(scheme: str = "light", size: dict[str, int] = DESK) -> Any:
        page = browser.new_page(color_scheme=scheme, viewport=size, offline=True)
        opened.append(page)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda said: complaints.append(said.text) if said.type == "error" else None
        )
        page.on("request", lambda request: asked_for.append(request.url.split(":")[0]))
        page.goto(address)
        page.wait_for_selector("body[data-ready=yes]")
        return page

    yield look
    for page in opened:
        page.close()
    assert complaints == []
    assert set(asked_for) <= {"file", "data", "blob"}


def channels(colour: str) -> list[float]:
    """Red, green and blue, 0 to 255, and opacity, of a colour such as rgba(1, 2, 3, 0.5)."""
    red, green, blue, *opacity = map(float, re.findall(r"[\d.]+", colour))
    return [red, green, blue, *(opacity or [1.0])]


def seen(colours: list[str]) -> list[float]:
    """What is seen of colours that lie on white, the nearest first."""
    result = [255.0] * 3
    for colour in reversed(colours):
        *own, opacity = channels(colour)
        result = [opacity * c + (1 - opacity) * b for c, b in zip(own, result, strict=True)]
    return result


def luminance(colour: list[float]) -> float:
    """Relative luminance of red, green and blue, by WCAG 2.2."""
    shares = [c / 255 for c in colour]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(text: str, behind: list[str]) -> float:
    dark, light = sorted([luminance(seen([text, *behind])), luminance(seen(behind))])
    return (light + 0.05) / (dark + 0.05)


def unreadable(page: Any) -> list[str]:
    """Texts whose contrast is below what WCAG's level AA asks for."""
    texts = page.evaluate(COLOURS_OF_TEXTS)
    assert len(texts) > 300
    return [text for text, colour, behind in texts if contrast(colour, behind) < 4.5]


def test_contrast_of_known_colours():
    white = ["rgba(0, 0, 0, 0)", "rgb(255, 255, 255)"]
    assert contrast("rgb(0, 0, 0)", white) == pytest.approx(21)
    assert contrast("rgb(119, 119, 119)", white) == pytest.approx(4.48, abs=0.01)
    assert seen(["rgba(0, 0, 0, 0.2)", "rgb(255, 255, 255)"]) == [204, 204, 204]


def test_every_figure_is_drawn(look: Any):
    page = look()
    plots = page.locator(".plot").all()
    assert len(plots) == 12
    for plot in plots:
        box = plot.locator("svg").bounding_box()
        assert box["width"] > 300
        assert box["height"] > 50
        assert plot.locator(
            "path[aria-roledescription], .mark-symbol path, .mark-rule line"
        ).count()


def test_pairs_can_be_searched_and_sorted(look: Any):
    page = look()
    rows = page.locator(f"{SEARCHED} tbody tr")
    assert rows.count() == 2
    page.locator(f"{SEARCHED} input[type=search]").fill("wrong")
    assert rows.count() == 1
    assert "starting with value 5" in rows.first.inner_text()
    page.locator(f"{SEARCHED} input[type=search]").fill("")
    column = page.locator(f"{SEARCHED} th").nth(7)  # the notebook's: +0.25, −1.50
    column.click()
    assert [row.inner_text().split("\t")[7] for row in rows.all()] == ["−1.50 wrong", "+0.25"]
    column.click()
    assert [row.inner_text().split("\t")[7] for row in rows.all()] == ["+0.25", "−1.50 wrong"]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(look: Any, scheme: str, size: dict[str, int]):
    page = look(scheme, size)
    assert unreadable(page) == []
    paper = seen([page.evaluate("getComputedStyle(document.body).backgroundColor")])
    assert (luminance(paper) > 0.5) is (scheme == "light")


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_nothing_scrolls_sideways(look: Any, size: dict[str, int]):
    page = look(size=size)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    outside = (
        "[...document.querySelectorAll('body *')].filter(e => e.checkVisibility() && "
        "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 99))"
    )
    assert page.evaluate(outside) == []


def test_paper_is_white_and_shows_figures_but_no_controls(look: Any, tmp_path: Path):
    page = look("dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator("input[type=search]").first.is_visible()
    assert not page.locator("header nav").is_visible()
    assert page.locator(".plot svg").first.is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert unreadable(page) == []
    assert page.pdf(path=tmp_path / "report.pdf", format="A4")[:5] == b"%PDF-"
