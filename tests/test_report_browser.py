"""The report in a real browser: it draws, sorts, moves, and asks for nothing."""

from __future__ import annotations

import itertools
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import decomposition, layer, run

import eiplane
from eiplane.report import write_report
from eiplane.results import Decomposition, Skipped

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None
)


@pytest.fixture(scope="module")
def browser():
    if BROWSER is None:
        pytest.skip("no chromium is installed")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync.sync_playwright() as engine:
        flags = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        opened = engine.chromium.launch(executable_path=BROWSER, args=flags)
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Return a function that writes a report and opens it; nothing may go wrong in it."""
    problems, asked = [], []

    def opener(source, scheme="light", **options):
        path = write_report(source, tmp_path / "report.html", **options)
        page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type != "log" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        return page

    yield opener
    assert problems == []
    assert [u for u in asked if not u.startswith(("file:", "data:"))] == []


def keep(page, name):
    """Keep a screenshot where the person who looks at pictures asked for it."""
    folder = os.environ.get("EIPLANE_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def places(page):
    """Where the marks of the plane are drawn, in the picture's own units."""
    return page.evaluate(
        """() => [...document.querySelectorAll('#plane a path')].map(
               p => p.getAttribute('transform').match(/[-\\d.]+/g).map(Number))"""
    )


def column(page, table, i):
    return page.locator(f"{table} tbody tr td:nth-child({i}), {table} tbody tr th:nth-child({i})")


def test_headings_sort_and_what_is_not_known_comes_last(open_page):
    known = layer("known", 1.0, 2.0)
    from test_unknown import unknown

    rows = (unknown("open"), layer("b", 1.0, 9.0, ei=7.5), known, layer("c", 0.5, 4.0, ei=0.5))
    page = open_page(Decomposition(rows))
    heading = page.locator("table.layers th:has(button:text-is('EI'))")
    names = column(page, "table.layers", 2)
    assert names.all_inner_texts() == ["open", "b", "known", "c"]
    heading.locator("button").focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert names.all_inner_texts() == ["b", "known", "c", "open"]
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names.all_inner_texts() == ["c", "known", "b", "open"]
    assert page.locator("[aria-sort=ascending], [aria-sort=descending]").count() == 1
    page.click("table.layers button:text-is('layer')")
    assert names.all_inner_texts() == ["b", "c", "known", "open"]


def test_marks_lie_where_the_numbers_say(open_page):
    points = [(0.5, 2.0), (1.5, 4.0), (3.0, 9.0), (0.1, 0.7)]  # degeneracy, sensitivity
    page = open_page(decomposition(*points))
    d, s = np.array(points).T
    for turned, across, up in ((True, s - d, s + d), (False, d, s)):
        page.set_checked("#plane-turned", turned)
        seen = np.array(places(page))
        for values, drawn, sign in ((across, seen[:, 0], 1), (up, seen[:, 1], -1)):
            slope, start = np.polyfit(values, drawn, 1)
            assert slope * sign > 0
            np.testing.assert_allclose(drawn, slope * values + start, atol=0.11)
    # Per output: all layers have five; then by the joint EI, a quarter of a bit away.
    page.select_option("#plane-ei", "joint")
    seen = np.array(places(page))
    slope, start = np.polyfit(s - np.array([x.ei for x in decomposition(*points)]), seen[:, 0], 1)
    joint = s - np.array([x.ei for x in decomposition(*points)])
    np.testing.assert_allclose(seen[:, 0], slope * joint + start, atol=0.11)
    assert page.locator("#plane .bar-line").count() == 4  # EI of the whole has an error
    page.check("#plane-scale")
    assert np.isfinite(places(page)).all()
    keep(page, "plane")


def test_what_is_only_known_between_bounds_has_no_mark_and_no_line(open_page):
    from test_unknown import unknown

    rows = (layer("a", 1.0, 2.0), unknown("open"), layer("c", 0.5, 4.0))
    page = open_page(Decomposition(rows))
    page.select_option("#plane-ei", "joint")
    assert page.locator("#plane a .mark").count() == 2
    assert page.locator("#plane a .span").count() == 1
    page.select_option("#depth-q", "ei")
    assert page.locator("#depth .mark").count() == 2
    assert page.locator("#depth .span").count() == 1
    lines = page.locator("#depth path.trail")
    assert lines.count() == 0  # neither neighbour can be joined
    page.select_option("#depth-q", "sensitivity")
    assert page.locator("#depth path.trail").get_attribute("d").count("L") == 2


def test_the_keyboard_goes_from_mark_to_mark_and_opens_a_layer(open_page):
    page = open_page(decomposition((1.0, 2.0), (1.5, 4.0), (0.5, 3.0)))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.locator("#plane a").first.focus()
    assert "fc1" in page.inner_text("#tip") and "sensitivity: 2" in page.inner_text("#tip")
    page.keyboard.press("ArrowRight")
    assert "fc2" in page.inner_text("#tip")
    assert page.locator("#plane a[tabindex='0']").count() == 1
    page.keyboard.press("Enter")
    # The address changes first, and what opens the layer is told of it a moment later.
    page.wait_for_function("document.getElementById('layer-1').open", timeout=5_000)
    page.keyboard.press("Escape")
    assert page.locator("#tip").is_hidden()


def test_the_search_leaves_what_fits(open_page):
    names = [f"h.{b}.{part}" for b in range(9) for part in ("attn", "up", "down", "q", "k")]
    d = Decomposition(tuple(layer(n, 0.1 * i, 1 + 0.2 * i) for i, n in enumerate(names)))
    page = open_page(d)
    assert page.locator("#plane a").count() == 45
    page.keyboard.press("/")
    page.keyboard.type("h.3 attn")
    assert page.inner_text("#found") == "1 of 45 layers"
    assert page.locator("table.layers tbody tr:visible").count() == 1
    assert page.locator("#plane a").count() == 1
    assert page.locator("#edges details[data-l]:visible").count() == 1
    page.fill("#search", "nothing like it")
    assert "Neither layer" in page.inner_text("#plane")
    page.fill("#search", "")
    assert page.locator("table.layers tbody tr:visible").count() == 45


def test_the_slider_moves_everything(open_page):
    source = run(steps=11)
    page = open_page(source)
    assert page.inner_text("#now") == "step 1,000"
    end, rows = places(page), page.inner_text("table.layers")
    page.locator("#slider").focus()
    page.keyboard.press("Home")
    assert page.inner_text("#now") == "step 0"
    assert places(page) != end
    value = f"{source.values('fc1', 'sensitivity')[0]:.4g}"
    assert page.inner_text("table.layers") != rows
    assert page.inner_text("[data-k='0,0,sensitivity']") == value
    assert "loss 1," in page.inner_text("#metrics")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#now") == "step 100"
    assert page.locator("#histories .chart").count() == 2 + len(source.shown)
    page.evaluate(
        """() => { window.seen = []; const now = document.getElementById('now');
                   new MutationObserver(() => window.seen.push(now.textContent))
                     .observe(now, {childList: true}); }"""
    )
    page.click("#play")
    page.wait_for_selector("#play[aria-label=play]", timeout=10_000)
    assert page.evaluate("window.seen") == [f"step {s:,}" for s in range(200, 1001, 100)]
    keep(page, "run")


def test_the_slider_of_a_long_run_stands_where_the_page_is(open_page):
    page = open_page(run(steps=160, layers=1))
    where = "['value', 'max'].map(k => Number(document.getElementById('slider')[k]))"
    assert page.evaluate(where) == [159, 159]
    page.locator("#slider").focus()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(where) == [158, 159]
    assert page.inner_text("#now") == "step 994"  # of 1,000 in 159


def test_what_is_known_to_a_hair_between_bounds_is_seen(open_page):
    from test_unknown import unknown

    point = unknown("point")
    point = replace(point, joint=replace(point.joint, ei_bounds=(1.5, 1.5)))
    page = open_page(Decomposition((unknown("wide"), point)))
    page.select_option("#depth-q", "ei")
    page.select_option("#plane-ei", "joint")
    for place in ("#depth", "#plane"):
        spans = page.locator(f"{place} .span").all()
        assert len(spans) == 2
        for span in spans:
            ends = span.evaluate("s => s.getTotalLength()")
            assert ends > 2.9


def below(page):
    """What stands below the depths, and the ends of each."""
    found = []
    for text in page.locator("#depth text[text-anchor=middle]").all():
        box = text.bounding_box()
        found.append((text.text_content(), box["x"], box["x"] + box["width"]))
    return [one for one in found if one[0] not in ("", "position of the layer")]


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        # Names that the room cuts to one and the same: their numbers instead.
        ([f"encoder.layer{i}.{'attention.' * 5}out" for i in range(4)], list("1234")),
        ([f"model.block{i}.dense" for i in range(8)], [f"…block{i}.dense" for i in range(8)]),
        (["a", "<b>", "_x", "$"], ["a", "<b>", "_x", "$"]),
    ],
)
def test_names_below_the_depths_do_not_meet(open_page, names, shown):
    page = open_page(Decomposition(tuple(layer(n, 1.0, 2.0) for n in names)))
    texts = below(page)
    assert [text for text, _, _ in texts] == shown
    assert all(a[2] <= b[1] for a, b in itertools.pairwise(texts))


def test_a_very_long_name_leaves_room_for_the_numbers(open_page):
    page = open_page(Decomposition((layer("x" * 180, 1.0, 2.0), layer("b", 1.0, 2.0))))
    (long,) = page.locator("table.layers th.long").all()
    assert long.bounding_box()["width"] < 450
    assert page.locator("table.layers tbody td").nth(2).bounding_box()["x"] < 1200


def test_changes_are_drawn_the_greatest_first(open_page):
    before = decomposition((1.0, 2.0), (1.5, 4.0), (0.5, 3.0))
    after = decomposition((1.0, 2.5), (1.5, 2.0), (0.5, 3.0))
    page = open_page({"before": before, "after": after})
    page.select_option("#changes-q", "sensitivity")
    names = page.locator("#changes-chart g > text").all_text_contents()
    assert names == ["fc2", "fc1", "fc3"]  # -2, 0.5, 0
    widths = [float(r.get_attribute("width")) for r in page.locator("#changes-chart rect").all()]
    assert widths[0] == pytest.approx(4 * widths[1], abs=0.3) and widths[2] == 1
    shown = page.locator("table.changes thead th:visible").all_inner_texts()
    assert [s.split(": ")[1].split()[0] for s in shown[3:]] == ["before", "after", "change"]
    assert all(s.startswith("sensitivity") for s in shown[3:])
    page.select_option("#changes-q", "ei")  # it has errors
    assert page.locator("#changes-chart g > path.axis").count() == 3
    assert page.locator("#plane .hollow").count() == 3
    keep(page, "changes")


def luminance(text):
    rgb = np.array([float(v) for v in text[text.index("(") + 1 : -1].split(",")[:3]]) / 255
    return float(np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
                 @ [0.2126, 0.7152, 0.0722])  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(open_page, scheme):
    page = open_page(run(steps=4), scheme)
    style = "s => getComputedStyle(document.querySelector(s))"
    ground = luminance(page.evaluate(f"({style})('body').backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for selector in ("body", "p.note", "nav a", "thead button", "#plane text"):
        which = "fill" if "text" in selector else "color"
        ink = luminance(page.evaluate(f"({style})('{selector}').{which}"))
        contrast = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
        assert contrast > 4.5, selector
    for mark in page.locator("#plane a path").all():
        ink = luminance(mark.evaluate("m => getComputedStyle(m).fill"))
        assert (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05) > 3.0
    keep(page, scheme)


def test_a_network_of_which_nothing_was_analysed_opens(open_page):
    page = open_page(Decomposition((), (Skipped("a", "why"),)))
    assert "why (1)" in page.inner_text("#about")


def test_a_run_without_the_plane_s_measures_still_has_its_histories(open_page):
    bare = decomposition((1.0, 2.0))[0]
    rest = type(bare)(
        "only", 2, 2, "relu", 8, 8, (0.0, 1.0), (0.0, 1.0), pairwise_ei=bare.pairwise_ei
    )
    page = open_page([Decomposition((rest,))] * 2)
    assert page.locator("#histories .chart").count() == 1
    assert "were not measured" in page.inner_text("#in-plane")


@pytest.mark.parametrize("several", [False, True])
def test_nothing_is_wider_than_a_narrow_screen(open_page, several):
    """Of layers small enough to have their numbers in a table, too."""
    rng = np.random.default_rng(0)
    network = [eiplane.Layer(rng.normal(size=(n, 8)), name=f"layer {n}" * 6) for n in (8, 3)]
    halved = [eiplane.Layer(layer.matrix() / 2, name=layer.name) for layer in network]
    both = {"before-it.safetensors" * 2: network, "after-it.safetensors" * 2: halved}
    page = open_page(both if several else network, measures=("sensitivity", "ei_parts"))
    page.set_viewport_size({"width": 390, "height": 800})
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    wide, screen = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert wide <= screen
    label = page.locator("#depth text").first.evaluate("t => t.getBoundingClientRect().height")
    assert label >= 7  # pixels: charts scroll instead of shrinking to nothing
