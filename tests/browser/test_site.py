"""Every page of the built site in a real browser."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import SITE

pytestmark = pytest.mark.browser

PAGES = sorted(
    path.relative_to(SITE).as_posix()
    for path in SITE.rglob("*.html")
    if not {"_static", "_modules"} & set(path.relative_to(SITE).parts)
) or ["index.html"]
SHOTS = Path(__file__).resolve().parents[2] / "artifacts" / "screenshots"
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
SETTLED = "document.readyState === 'complete' && (!window.MathJax || !!MathJax.startup?.document)"


class Visit:
    """A page with what its browser complained of and asked for."""

    def __init__(self, page: Any, address: str) -> None:
        self.complaints: list[str] = []
        self.asked: list[str] = []
        page.on("console", self._heard)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("requestfailed", lambda request: self.complaints.append(f"failed: {request.url}"))
        page.on("response", self._answered)
        page.goto(address)
        page.wait_for_function(SETTLED)
        if page.evaluate("!!window.MathJax"):
            page.evaluate("MathJax.startup.promise")
        page.wait_for_load_state("networkidle")

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self.complaints.append(f"{response.status}: {response.url}")


@pytest.fixture(params=["desktop", "phone"])
def page(browser: Any, request: pytest.FixtureRequest) -> Any:
    yield from sized_page(browser, request.param)


def sized_page(browser: Any, name: str) -> Iterator[Any]:
    width, height = SIZES[name]
    context = browser.new_context(viewport={"width": width, "height": height})
    yield context.new_page()
    context.close()


def assert_sound(page: Any, visit: Visit, home: str) -> None:
    assert visit.complaints == []
    foreign = [url for url in visit.asked if not url.startswith((home, "data:", "blob:"))]
    assert foreign == [], "the site must not ask other hosts for anything"
    width, window = page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    assert width <= window, "the page scrolls sideways"
    formulas = page.locator(".math").count()
    assert page.locator(".math mjx-container").count() >= formulas
    assert page.locator("mjx-merror").count() == 0
    broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.src)"
    assert page.evaluate(broken) == []
    assert page.evaluate("[...document.images].filter(i => !i.hasAttribute('alt')).length") == 0


@pytest.mark.parametrize("name", PAGES)
def test_page_is_sound_on_a_server(served: str, page: Any, name: str) -> None:
    visit = Visit(page, f"{served}/{name}")
    assert_sound(page, visit, served)


@pytest.mark.parametrize("name", PAGES)
def test_page_is_sound_from_disk(site: Path, page: Any, name: str) -> None:
    visit = Visit(page, (site / name).as_uri())
    assert_sound(page, visit, site.as_uri())


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core, which finds barriers to readers who do not see, point or tell colours well."""
    pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")
    return importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text()


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("size", SIZES)
def test_page_has_no_serious_barrier_by_day_or_night(
    served: str, browser: Any, axe: str, size: str, name: str
) -> None:
    for page in sized_page(browser, size):
        Visit(page, f"{served}/{name}")
        page.evaluate(axe)
        for theme in ("light", "dark"):
            page.evaluate(f"document.documentElement.dataset.theme = '{theme}'")
            page.evaluate("Promise.all(document.getAnimations().map(a => a.finished))")
            shot = SHOTS / f"{name.removesuffix('.html').replace('/', '-')}-{size}-{theme}.png"
            page.screenshot(path=shot)
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            serious = [
                (one["id"], node["html"][:200], node["failureSummary"])
                for one in found["violations"]
                if one["impact"] in ("serious", "critical")
                for node in one["nodes"]
            ]
            assert serious == [], theme


def test_pictures_tell_their_size_before_they_come(served: str, browser: Any) -> None:
    page = browser.new_page()
    unsized = "[...document.images].filter(i => !i.width || !i.hasAttribute('height')).length"
    for name in PAGES:
        if name.startswith("notebooks/"):
            page.goto(f"{served}/{name}", wait_until="domcontentloaded")
            assert page.evaluate(unsized) == 0, name
    page.close()


def pages_to_turn() -> list[str]:
    """Pages with pictures that a reader can turn."""
    texts = {name: (SITE / name) for name in PAGES if name.startswith("notebooks/")}
    return [name for name, path in texts.items() if 'class="turn"' in path.read_text("utf-8")]


@pytest.mark.parametrize("name", pages_to_turn())
def test_pictures_turn_by_keyboard(served: str, page: Any, name: str) -> None:
    visit = Visit(page, f"{served}/{name}")
    for box in page.locator(".turn").all():
        controls = box.locator("input[type=range], select, svg[tabindex]").all()
        assert controls, "there is something to turn"
        for control in controls:
            kind = control.evaluate("c => c.localName")
            if kind == "select" and control.locator("option").count() < 2:
                continue
            before = box.evaluate("b => b.innerHTML + b.querySelector('output').textContent")
            control.focus()
            key = "ArrowDown" if kind == "select" else "ArrowRight"
            page.keyboard.press(key)
            after = box.evaluate("b => b.innerHTML + b.querySelector('output').textContent")
            if kind != "select":  # a choice may have nothing other to show
                assert after != before, f"{kind} does nothing"
    assert visit.complaints == []


@pytest.mark.parametrize("name", pages_to_turn())
def test_stills_stand_in_on_paper_and_without_scripts(served: str, browser: Any, name: str) -> None:
    shown = "e => getComputedStyle(e).display !== 'none'"
    for scripts in (True, False):
        context = browser.new_context(java_script_enabled=scripts)
        page = context.new_page()
        page.goto(f"{served}/{name}")
        if scripts:
            page.emulate_media(media="print")
        boxes, stills = page.locator(".turn").all(), page.locator(".still").all()
        assert len(boxes) == len(stills) > 0
        if scripts:  # without them the page cannot be asked
            assert not any(box.evaluate(shown) for box in boxes)
            assert all(still.evaluate(shown) for still in stills)
            page.emulate_media(media="screen")
            assert not any(still.evaluate(shown) for still in stills)
        assert all(still.is_visible() for still in stills) is not scripts
        context.close()


def test_equations_are_numbered_one_to_eight(served: str, page: Any) -> None:
    Visit(page, f"{served}/method/equations.html")
    numbers = page.locator("span.eqno").all_inner_texts()
    assert [text.strip("()#\n ¶") for text in numbers] == [str(n) for n in range(1, 9)]


def test_search_finds_a_word(served: str, site: Path, page: Any) -> None:
    for home in (served, site.as_uri()):
        visit = Visit(page, f"{home}/search.html?q=outliers")
        page.wait_for_selector("#search-results li a")
        assert "Eight equations" in page.locator("#search-results").inner_text()
        page.wait_for_timeout(300)  # excerpts arrive late, and so would their errors
        assert visit.complaints == []


def test_dark_mode_can_be_chosen_and_is_dark(served: str, page: Any) -> None:
    Visit(page, f"{served}/index.html")
    for _ in range(3):
        if page.evaluate("document.documentElement.dataset.theme") == "dark":
            break
        page.locator("button.theme-switch-button").first.click()
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert max(int(part) for part in colour[4:-1].split(",")[:3]) < 60


def test_code_can_be_copied(served: str, page: Any) -> None:
    Visit(page, f"{served}/use/rerun.html")
    assert page.locator("button.copybtn").count() >= 3


def test_what_goes_on_beyond_the_edge_fades_until_it_is_reached(served: str, browser: Any) -> None:
    for page in sized_page(browser, "phone"):
        Visit(page, f"{served}/notebooks/results_tables.html")
        table = page.locator(".pst-scrollable-table-container").first
        assert table.evaluate("t => t.scrollWidth > t.clientWidth && t.matches('.more')")
        table.evaluate("t => { t.scrollLeft = t.scrollWidth; }")
        page.wait_for_timeout(100)
        assert not table.evaluate("t => t.matches('.more')")
        Visit(page, f"{served}/index.html")
        ledger = page.locator(".pst-scrollable-table-container").first
        assert ledger.evaluate("t => t.scrollWidth <= t.clientWidth"), "the ledger fits a phone"


def test_formulas_fit_a_desk(served: str, browser: Any) -> None:
    for page in sized_page(browser, "desktop"):
        Visit(page, f"{served}/method/equations.html")
        wide = (
            "[...document.querySelectorAll('mjx-container[display]')].filter(m =>"
            " m.scrollWidth > m.clientWidth + 1).map(m => m.parentNode.id)"
        )
        assert page.evaluate(wide) == []


def test_figures_and_tables_say_how_they_were_made(served: str, browser: Any) -> None:
    page = browser.new_page()
    for name in PAGES:
        if not name.startswith("notebooks/"):
            continue
        page.goto(f"{served}/{name}", wait_until="domcontentloaded")
        shown = page.locator("figure[id^='fig-'], table[id^='tab-']").count()
        assert page.locator("details.made").count() == shown > 0, name
        source = f"_sources/{name.removesuffix('html')}ipynb"
        assert page.locator(f"a[href$='{source}']").count() > 0, "the notebook can be downloaded"
    page.close()


def test_closed_code_opens(served: str, page: Any) -> None:
    Visit(page, f"{served}/notebooks/weight_gallery.html")
    code = page.locator("details.hide").first
    assert "Parameters" in code.locator("summary").inner_text()
    assert not code.locator("pre").is_visible()
    code.locator("summary").click()
    assert code.locator("pre").is_visible()
    Visit(page, f"{served}/notebooks/confident_learning.html")
    assert page.locator("summary:has-text('Solution')").count() >= 4


def test_every_link_within_the_site_leads_somewhere(served: str, browser: Any) -> None:
    page = browser.new_page()
    # A link in an SVG has an object for its href, so the attribute is resolved here.
    collect = """
        [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href')).map(
            h => URL.canParse(h, document.baseURI) ? new URL(h, document.baseURI).href : h)
    """
    known: dict[str, set[str]] = {}
    wanted: set[str] = set()
    for name in PAGES:
        page.goto(f"{served}/{name}", wait_until="domcontentloaded")
        known[f"{served}/{name}"] = set(
            page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
        )
        found = page.evaluate(collect)
        assert [url for url in found if not re.match(r"(https?|mailto|data):", url)] == [], name
        wanted |= {url for url in found if url.startswith(served)}
    page.close()
    lost = []
    for url in sorted(wanted):
        target, _, part = url.partition("#")
        target = target.partition("?")[0]
        if target.endswith(".html"):
            if target not in known or (part and part not in known[target]):
                lost.append(url)
        elif not (SITE / target.removeprefix(served + "/")).is_file():
            lost.append(url)
    assert lost == []
