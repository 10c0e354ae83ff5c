"""The report: one file, driven in a real browser."""

import os
import re
import shutil
from pathlib import Path

import pytest
from made_up import decomposition, run

from eiplane.files import Appender
from eiplane.report import write_report
from eiplane.training import History, Record

pytest.importorskip("plotly")

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
    problems = []
    asked = []

    def opener(source, **options):
        path = write_report(source, tmp_path / "report.html", **options)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda m: problems.append(m.text) if m.type == "error" else None)
        page.on("request", lambda request: asked.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("#plane .scatterlayer .trace", state="attached")
        return page

    yield opener
    assert problems == []
    assert [u for u in asked if not u.startswith(("file:", "data:", "blob:"))] == []


def keep(page, name):
    """Keep a screenshot where the person who looks at pictures asked for it."""
    folder = os.environ.get("EIPLANE_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def point_at(page, layer, text):
    """Point at a layer's mark and return the text that appears, once it has this text."""
    place = page.evaluate(
        """i => { const plane = document.getElementById('plane');
                  const trace = plane.data[3 * i + 2], layout = plane._fullLayout;
                  const box = plane.getBoundingClientRect();
                  return [box.x + layout._size.l + layout.xaxis.d2p(trace.x[0]),
                          box.y + layout._size.t + layout.yaxis.d2p(trace.y[0])]; }""",
        layer,
    )
    page.mouse.move(place[0] + 60, place[1] + 60)
    page.mouse.move(*place)
    appeared = page.wait_for_selector(f"#plane .hovertext:has-text('{text}')", timeout=10_000)
    return appeared.text_content()


def test_hover_shows_the_layer_and_its_numbers(open_page):
    source = run(steps=11)
    page = open_page(source, title="A run")
    assert page.inner_text("h1") == "A run"
    page.evaluate("document.getElementById('plane').scrollIntoView({block: 'center'})")
    for i, name in enumerate(source.layers):
        shown = point_at(page, i, f"{name}, step 1,000")
        value = source.values(name, "sensitivity")[-1]
        assert f"sensitivity: {value:.4g}" in shown
    keep(page, "hover")


def test_the_slider_moves_everything(open_page):
    source = run(steps=11)
    page = open_page(source)
    assert page.inner_text("#now") == "step 1,000"
    head = "document.getElementById('plane').data[2]"
    end = page.evaluate(f"{head}.y[0]")
    rows = page.inner_text("#table")
    slider = page.locator("#slider")
    slider.focus()
    page.keyboard.press("Home")
    assert page.inner_text("#now") == "step 0"
    start = page.evaluate(f"{head}.y[0]")
    values = [source.values("fc1", q) for q in ("sensitivity", "degeneracy")]
    root = 2**0.5
    assert start == pytest.approx((values[0][0] + values[1][0]) / root, rel=1e-4)
    assert end == pytest.approx((values[0][-1] + values[1][-1]) / root, rel=1e-4)
    assert page.inner_text("#table") != rows
    assert "loss 1," in page.inner_text("#table")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#now") == "step 100"
    assert page.evaluate(
        "document.querySelector('#histories > div').layout.shapes[0].x0"
    ) == pytest.approx(100)
    assert page.evaluate("document.getElementById('plane').data[1].x.length") == 2
    keep(page, "slider")


def test_the_plane_turns_and_splits(open_page):
    source = run(steps=5)
    page = open_page(source)
    first = (
        "(() => { const t = document.getElementById('plane').data[2]; return [t.x[0], t.y[0]]; })()"
    )
    page.uncheck("#turned")
    across, up = page.evaluate(first)
    assert across == pytest.approx(source.values("fc1", "degeneracy")[-1], rel=1e-4)
    assert up == pytest.approx(source.values("fc1", "sensitivity")[-1], rel=1e-4)
    page.check("#joint")
    across, _ = page.evaluate(first)
    assert across == pytest.approx(source.values("fc1", "degeneracy_joint")[-1], rel=1e-4)
    keep(page, "plain")


def test_play_runs_to_the_end(open_page):
    page = open_page(run(steps=6))
    page.evaluate(
        """() => { window.seen = []; const now = document.getElementById('now');
                   new MutationObserver(() => window.seen.push(now.textContent))
                     .observe(now, {childList: true}); }"""
    )
    page.click("#play")
    page.wait_for_selector("#play:has-text('▶')")
    page.wait_for_timeout(100)
    assert page.evaluate("window.seen") == [
        "step 200",
        "step 400",
        "step 600",
        "step 800",
        "step 1,000",
    ]


def test_names_are_text_not_markup(open_page):
    network = decomposition((1.0, 2.0), (1.5, 4.0))
    evil = "</script><img src=x onerror=alert(1)>"
    records = []
    for step in range(3):
        record = Record.of(step, network, {"<b>loss</b>": 1.0})
        layers = [dict(entry) for entry in record.layers]
        layers[0]["name"] = evil
        records.append(Record(step, tuple(layers), record.metrics))
    page = open_page(History(records), title="<i>run</i>")
    assert page.inner_text("h1") == "<i>run</i>"
    assert evil in page.inner_text("#table")
    assert page.locator("img[src=x]").count() == 0


def test_a_run_without_the_plane_s_measures_still_has_its_histories(tmp_path, browser):
    from eiplane.results import Decomposition

    bare = decomposition((1.0, 2.0))[0]
    layer = type(bare)(
        "only", 2, 2, "relu", 8, 8, (0.0, 1.0), (0.0, 1.0), pairwise_ei=bare.pairwise_ei
    )
    path = write_report([Decomposition((layer,), (), {})] * 2, tmp_path / "r.html")
    page = browser.new_page()
    page.goto(path.as_uri())
    page.wait_for_selector("#histories .scatterlayer .trace", state="attached")
    assert "did not measure" in page.inner_text("#plane")


def test_the_file_is_self_contained_and_whole(tmp_path):
    path = write_report(run(), tmp_path / "report.html")
    page = path.read_text()
    assert "@DATA@" not in page[: page.index("<script>")]
    ours = page[: page.index("<script>")] + page[page.rindex("<script>") :]
    assert not re.findall(r"""(?:src|href)=["'](?!data:)[^"']+""", ours)
    assert "https://" not in ours
    with pytest.raises(ValueError, match="no record"):
        write_report(History([]), tmp_path / "empty.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_report_command(tmp_path, capsys):
    from eiplane.cli import main

    path = tmp_path / "run.jsonl"
    with Appender(path) as file:
        file.append({"eiplane": 1, "options": {}})
        for record in run():
            file.append(record.to_json())
    assert main(["report", str(path), str(tmp_path / "run.html"), "--title", "Mine"]) == 0
    assert "<h1>Mine</h1>" in (tmp_path / "run.html").read_text()
    assert main(["report", str(tmp_path / "none.jsonl"), str(tmp_path / "x.html")]) == 1
    assert "none.jsonl" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()
