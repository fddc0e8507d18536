"""The report in a real browser: the light, the keyboard, touch, narrow screens, dark mode, print,
and no network.
"""

import http.server
import io
import re
import threading
import time

import numpy as np
import pytest
from PIL import Image

from jaxcap import report
from tests import browser
from tests.report.pages import EVIL, EVIL_QUOTE, LONG, metrics, photo, photos, result

pytestmark = pytest.mark.skipif(
    not (browser.CHROMIUM and browser.CHROMEDRIVER), reason="needs chromium and chromedriver"
)
GOOD = "#photos .cards .card"
LIGHT = "light"
DARK = "dark"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser.started(tmp_path_factory.mktemp("profile")) as window:
        yield window


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    report.write(path, result(), metrics(), photos())
    return path


@pytest.fixture
def window(chromium, written):
    """The report, newly opened, with the fading of the light off."""
    chromium.devtools("Emulation.clearDeviceMetricsOverride")
    look(chromium)
    chromium.requests(), chromium.console()
    chromium.point_away()
    chromium.open(written)
    return chromium


def look(chromium, scheme=LIGHT, motion="reduce", media=""):
    features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
    features = [{"name": name, "value": value} for name, value in features.items()]
    chromium.devtools("Emulation.setEmulatedMedia", media=media, features=features)


def picture(window, card=GOOD):
    """The pixels of a card's photo as they stand on the screen, in shades of grey."""
    window.run(
        "return new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )
    return np.asarray(
        Image.open(io.BytesIO(window.screenshot(f"{card} .photo"))).convert("L"), np.float32
    )


def same(pixels, wanted):
    """Whether two pictures are one, but for the rounded corners: how those are smoothed changes
    with the layers.
    """
    radius = 8
    return np.abs(pixels - wanted)[radius:-radius, radius:-radius].max() <= 1


def brightest(pixels, cells=7):
    """The row and column of the brightest of 7 x 7 regions, and how much brighter it is than the
    dimmest.
    """
    side = len(pixels) // cells
    inside = pixels[: cells * side, : cells * side]
    means = inside.reshape(cells, side, cells, side).mean((1, 3))
    return divmod(int(means.argmax()), cells), float(means.max() - means.min())


def lit_words(window):
    return window.run(
        "return [...document.querySelectorAll('.caption .lit')].map(word => word.textContent)"
    )


def word(n):
    return f"{GOOD} .caption button:nth-of-type({n})"


def test_a_grid_of_8_x_8_regions_is_lit_where_it_lies(window, tmp_path):
    path = tmp_path / "report.html"
    eight = photo(regions=(6, 57, 36), grid=(8, 8), size=299)
    report.write(path, result(), metrics(), [eight])
    window.open(path)
    for n, region in ((1, (0, 6)), (2, (7, 1)), (3, (4, 4))):
        window.point_at(word(n))
        found, contrast = brightest(picture(window), cells=8)
        assert (found, contrast > 50) == (region, True)


def test_pointing_at_a_word_lights_its_regions(window):
    """Each word lights the region its attention lies on and dims the rest; pointing elsewhere gives
    the photo back.
    """
    plain = picture(window)
    assert brightest(plain)[1] < 2
    for n, region in ((1, (0, 5)), (2, (6, 2)), (3, (3, 3))):
        window.point_at(word(n))
        found, contrast = brightest(picture(window))
        assert (found, contrast > 50) == (region, True)
    assert lit_words(window) == ["runs"]
    assert (
        window.run("return document.querySelector('.said').textContent")
        == "runs: 30 % sure, centre, 46.6× even"
    )
    window.point_at("h1")
    assert same(picture(window), plain)
    assert lit_words(window) == []


def test_the_light_fades_to_the_same_picture(window, written):
    window.point_at(word(2))
    wanted = picture(window)
    window.point_away()
    look(window, motion="no-preference")
    window.open(written)
    window.point_at(word(2))
    deadline = time.monotonic() + 10
    while not same(picture(window), wanted) and time.monotonic() < deadline:
        pass
    assert same(picture(window), wanted)


def test_the_keyboard_does_all_that_the_mouse_does(window):
    """Tab reaches each caption once, arrows go through its words and around its ends, Escape puts
    the light out.
    """
    tab = "\ue004"
    left = "\ue012"
    right = "\ue014"
    escape = "\ue00c"
    plain = picture(window)
    for _ in range(40):
        window.press(tab)
        if lit_words(window):
            break
    assert lit_words(window) == ["a"]
    assert brightest(picture(window))[0] == (0, 5)
    outline = (
        "const style = getComputedStyle(document.activeElement);"
        "return style.outlineStyle + style.outlineWidth"
    )
    assert window.run(outline) == "solid2px"
    window.press(right)
    assert (lit_words(window), brightest(picture(window))[0]) == (["dog"], (6, 2))
    window.press(left), window.press(left)
    assert (lit_words(window), brightest(picture(window))[0]) == (["runs"], (3, 3))
    window.press(escape)
    assert lit_words(window) == []
    assert same(picture(window), plain)
    window.press(tab)
    assert window.run("return document.activeElement.localName") == "summary"


def test_a_tapped_word_stays_lit_until_another_is_tapped(window):
    window.tap(word(2))
    assert (lit_words(window), brightest(picture(window))[0]) == (["dog"], (6, 2))
    # The Tab key comes back to the word that was touched last.
    assert (
        window.run("return document.querySelector('.caption [tabindex=\"0\"]').textContent")
        == "dog"
    )
    window.tap(word(1))
    assert (lit_words(window), brightest(picture(window))[0]) == (["a"], (0, 5))


def test_nothing_moves_when_a_word_is_lit(window):
    places = """const all = [...document.body.querySelectorAll("*")];
        return JSON.stringify(all.map(each => each.getBoundingClientRect()))"""
    for selector, text in ((word(2), "dog"), (f".caption [aria-label^={LONG}]", LONG)):
        window.run("document.querySelector(arguments[0]).scrollIntoView({block: 'end'})", selector)
        before = window.run(places)
        window.point_at(selector)
        assert lit_words(window) == [text]
        assert window.run(places) == before


class _Counts(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.send_response(204)
        self.send_header("Access-Control-Allow-Origin", "*")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A server on this machine that lists what it was asked for."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Counts) as server:
        server.asked = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_no_request_leaves_the_page(window, written, server, tmp_path):
    """It asks for nothing but itself and its own photos, and its policy stops even a script that
    would.
    """
    window.point_at(word(2))
    picture(window)
    asked = window.requests()
    assert asked[0] == written.resolve().as_uri()
    assert all(address.startswith("data:") for address in asked[1:])
    assert window.console() == []
    call = """const image = new Image(); image.src = arguments[0] + "image";
              return fetch(arguments[0] + "fetch").then(() => "answered", () => "refused")"""
    address = f"http://127.0.0.1:{server.server_port}/"
    assert window.run(call, address) == "refused"
    assert server.asked == []
    assert any("Content Security Policy" in line for line in window.console())
    # A page without the policy gets through, so that the checks above can fail.
    (tmp_path / "open.html").write_text("<!doctype html><title>open</title>")
    window.open(tmp_path / "open.html")
    assert window.run(call, address) == "answered"
    assert "/fetch" in server.asked
    assert f"{address}fetch" in window.requests()


def test_a_hostile_caption_is_shown_as_text(window):
    words = window.run(
        """const cards = [...document.querySelectorAll(".card")];
           const card = cards.find(card => card.querySelector(".id").textContent === arguments[0]);
           return [...card.querySelectorAll("button")].map(word => word.textContent)""",
        EVIL_QUOTE,
    )
    assert words == [EVIL, EVIL_QUOTE, LONG]
    assert "broken out" not in window.run("return document.title.replace(arguments[0], '')", EVIL)
    assert window.run("return [document.scripts.length, document.images.length]") == [1, 3]


@pytest.mark.parametrize("width", [360, 640, 810, 1100])
def test_it_fits_narrow_screens_without_scrolling_sideways(window, width):
    window.devtools(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=740,
        deviceScaleFactor=1,
        mobile=True,
    )
    window.run("document.querySelectorAll('details').forEach(fold => { fold.open = true })")
    assert window.run("return [innerWidth, document.documentElement.scrollWidth]") == [width, width]
    beyond = """const parts = "th, td, p, button, img, svg, dd, li, code";
        return [...document.body.querySelectorAll(parts)]
            .filter(each => each.getBoundingClientRect().right > innerWidth + 1)
            .map(each => each.outerHTML.slice(0, 80))"""
    assert window.run(beyond) == []


def test_dark_mode_turns_paper_and_ink_around(window):
    colours = """const style = getComputedStyle(document.body);
        return [style.backgroundColor, style.color]"""
    shades = {}
    for scheme in (LIGHT, DARK):
        look(window, scheme)
        shades[scheme] = [
            sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in window.run(colours)
        ]
    assert shades[LIGHT][0] > 230 > 60 > shades[LIGHT][1]
    assert shades[DARK][1] > 200 > 60 > shades[DARK][0]


def test_print_shows_what_is_folded_and_leaves_the_light_out(window):
    opened = "return [...document.querySelectorAll('details')].map(fold => fold.open)"
    assert not any(window.run(opened))
    window.run("dispatchEvent(new Event('beforeprint'))")
    assert all(window.run(opened))
    look(window, media="print")
    assert window.run("return getComputedStyle(document.querySelector('canvas')).display") == "none"
    window.run("dispatchEvent(new Event('afterprint'))")
    assert not any(window.run(opened))
