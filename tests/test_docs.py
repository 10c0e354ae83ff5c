"""The documentation says what is so: examples run, links lead somewhere, no name is left out."""

import contextlib
import doctest
import importlib
import importlib.metadata
import io
import pkgutil
import re
from pathlib import Path

import pytest

import eiplane

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PUBLIC = ("eiplane", "eiplane.plot", "eiplane.callbacks", "eiplane.report", "eiplane.reproduce")

written = pytest.mark.skipif(not (ROOT / "docs").is_dir(), reason="the documentation is not here")


def modules():
    """Names of all modules of the package; those of data folders are no part of it."""
    found = pkgutil.walk_packages(eiplane.__path__, "eiplane.")
    return ["eiplane", *(m.name for m in found if not m.name.endswith("__main__"))]


MODULES = modules()


def examples_of(name):
    module = importlib.import_module(name)
    return [t for t in doctest.DocTestFinder().find(module, name) if t.examples]


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for test in examples_of(name):
        said = io.StringIO()
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=said.write)
        assert result.failed == 0, said.getvalue()


def test_there_are_examples_in_docstrings():
    """Were none found, the test above would pass for nothing."""
    with_examples = {t.name for name in MODULES for t in examples_of(name)}
    assert len(with_examples) >= 8
    assert any(name.endswith("analyze") for name in with_examples)


def documented():
    """Names in the API page, with their modules."""
    names, module = set(), ""
    for line in (ROOT / "docs/api/index.rst").read_text("utf-8").splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif (found := re.match(r"\.\. py:data:: (\S+)", line)) or (
            found := re.match(r"   ([A-Za-z_][\w.]*)$", line)
        ):
            names.add(f"{module}.{found[1]}")
    return names


def public():
    names = set()
    for module in PUBLIC:
        for name in importlib.import_module(module).__all__:
            names.add(f"{module}.{name}")
    return names - {"eiplane.plot"}  # a module: its functions are listed


@written
def test_api_lists_every_public_name():
    assert public() - documented() == set()


@written
def test_api_lists_nothing_that_is_not_there():
    for name in documented():
        owner, _, attribute = name.rpartition(".")
        assert hasattr(importlib.import_module(owner), attribute), name


@written
def test_build_looks_for_the_same_public_names():
    text = (ROOT / "docs/_ext/public_names.py").read_text("utf-8")
    listed = re.search(r"PUBLIC = \((.*?)\)", text, re.S)
    assert tuple(re.findall(r'"([^"]+)"', listed[1])) == PUBLIC


def links(path):
    text = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.S)
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not re.match(r"\w+:", link)]


@written
@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/**/*.md")))
def test_links_inside_lead_somewhere(page):
    if "_build" in page.parts:
        pytest.skip("built")
    for link in links(page):
        target = link.partition("#")[0]
        assert not target or (page.parent / target).exists(), f"{page.name}: {link}"


def code_shown(path):
    """The lines of code that a page shows: its cells, but for those that it hides."""
    for cell in re.findall(
        r"```(?:\{code-cell\} ipython3|python|sh)\n(.*?)```", path.read_text("utf-8"), re.S
    ):
        if "remove-input" not in cell:
            yield from cell.splitlines()


@written
def test_lines_of_code_fit_beside_a_page_s_contents():
    pages = [
        ROOT / "CONTRIBUTING.md",
        *(p for p in ROOT.glob("docs/**/*.md") if "_build" not in p.parts),
    ]
    lines = [(page.name, line) for page in pages for line in code_shown(page)]
    assert len(lines) > 200
    assert [found for found in lines if len(found[1]) > 92] == []


@written
def test_readme_has_the_links_and_is_short():
    assert len(links(README)) > 15
    assert len(README.read_text("utf-8").splitlines()) < 120


def split(text):
    """Words, and numbers, of a printed text."""
    parts = re.split(r"(-?\d+(?:\.\d*)?(?:e[+-]\d+)?)", " ".join(text.split()))
    return parts[::2], [float(number) for number in parts[1::2]]


@written
def test_readme_example_prints_what_it_says(monkeypatch):
    """``python docs/readme_output.py README.md`` renews what stands there."""
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    readme_output = importlib.import_module("readme_output")
    code, output = readme_output.example(README.read_text("utf-8"))
    words, numbers = split(readme_output.printed(code))
    said_words, said_numbers = split(output)
    assert words == said_words
    assert numbers == pytest.approx(said_numbers, rel=2e-3, abs=2e-3)


@written
def test_fifteen_examples_have_titles():
    gallery = sorted((ROOT / "docs/examples").glob("*.py"))
    assert len(gallery) >= 15
    for path in gallery:
        title = re.match(r'"""\n(.+)\n=+\n', path.read_text("utf-8"))
        assert title, path.name
        compile(path.read_text("utf-8"), path.name, "exec")


@written
def test_changelog_and_citation_tell_of_this_version():
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    headings = re.findall(r"^## \[(.+?)\]", text, re.M)
    assert headings[0] == "Unreleased"
    assert eiplane.__version__ in headings
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", text, re.M)) <= kinds
    citation = pytest.importorskip("yaml").safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    assert citation["preferred-citation"]["doi"] == "10.3390/e22121429"


def test_version_stands_in_one_place():
    number = re.compile(rf"\b{re.escape(eiplane.__version__)}\b")
    if (ROOT / "pyproject.toml").exists():
        assert not number.search((ROOT / "pyproject.toml").read_text("utf-8"))
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        assert importlib.metadata.version("eiplane") == eiplane.__version__


@written
@pytest.mark.parametrize(
    ("page", "problem"),
    [
        ('<a href="gone.html">x</a>', "is not there"),
        ('<a href="#gone">x</a>', "no such place"),
        ('<script src="https://elsewhere.example/x.js"></script>', "loads"),
        ('<a href="other.html#here">x</a><a href="https://elsewhere.example">y</a>', None),
    ],
)
def test_broken_links_are_found(page, problem, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    check_links = importlib.import_module("check_links")
    (tmp_path / "index.html").write_text(f"<html>{page}</html>")
    (tmp_path / "other.html").write_text('<html><p id="here">x</p></html>')
    found = check_links.problems(tmp_path)
    assert [problem in line for line in found] == ([True] if problem else [])


@written
def test_every_picture_is_in_the_gallery():
    shown = "".join(p.read_text("utf-8") for p in (ROOT / "docs/examples").glob("*.py"))
    shown = re.sub(r"\b(?:d|wide|trained|result)\.plot\(", "eiplane.plot.causal_plane(", shown)
    missing = [n for n in eiplane.plot.__all__ if f"eiplane.plot.{n}(" not in shown]
    assert missing == []
