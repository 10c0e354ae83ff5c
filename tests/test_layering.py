"""Which module may import which, and what importing eiplane loads."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import eiplane

PACKAGE = Path(eiplane.__file__).parent

#: The rooms, from the lowest to the highest; a file may import only from its own room and those
#: before it, wherever in the file the import stands.
ROOMS = [
    "files",
    "network",
    "_core",
    "reference",
    "results",
    "run",
    "extract",
    "information",
    "pairwise",
    "joint",
    "emergence",
    "recurrence",
    "plan",
    "measuring",
    "analyze",
    "ablation",
    "training",
    "callbacks",
    "loggers",
    "plot",
    "report",
    "reproduce",
    "cli",
]

#: Imported from anywhere, importing nothing.
EVERYWHERE = {"_version"}

#: The doors upwards. Pictures and pages are reached from results only when they are asked for, and
#: results of another class when they are read.
DOORS = {("results/decomposition.py", other) for other in ("plot", "report", "recurrence")}


#: The most lines of a file, and of a function without its docstring.
FILE_LINES, FUNCTION_LINES = 450, 80

#: Larger, for now: what is about to be replaced or cut, and by what.
TOO_LARGE = {
    "eiplane/network/activation.py": "the table of activations",
}

#: C sources, where the tests run beside them; an installed package has none.
C_SOURCES = Path(__file__).parents[1] / "csrc"


def imports(path):
    """The relative imports of a file: parts of each one's name below the package."""
    package = path.relative_to(PACKAGE).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [n for n in [*base, *(node.module or "").split(".")] if n]
            yield from [names] if names else [[alias.name] for alias in node.names]
        elif isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            assert not any(n and n.split(".")[0] == "eiplane" for n in names), (
                f"{path.name} imports eiplane by its full name; import from the room, relatively"
            )


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").parts[0], path


def test_a_room_imports_only_rooms_below_it():
    seen = set()
    for room, path in modules():
        if room in ("__init__", "__main__", *EVERYWHERE):
            continue
        assert room in ROOMS, f"{path.name} is in a room that the list does not have"
        for names in imports(path):
            other = names[0]
            if other == room or other in EVERYWHERE:
                continue
            door = (path.relative_to(PACKAGE).as_posix(), other)
            assert door in DOORS or ROOMS.index(other) < ROOMS.index(room), (
                f"{path.relative_to(PACKAGE)} imports from {other}, which stands above"
            )
            seen.add((room, other))
    assert len(seen) > 30


def test_no_circles_inside_a_room():
    """Follow every import at the top of a file, and none leads back."""
    graph = {}
    for _, path in modules():
        if path.name == "__init__.py":
            continue
        package = path.relative_to(PACKAGE).parent.parts
        found = set()
        tree = ast.parse(path.read_text())
        # Names for the type checker alone are not imported when the program runs.
        typed = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level == 1 and node not in typed:
                names = [node.module] if node.module else [a.name for a in node.names]
                for name in names:
                    target = PACKAGE.joinpath(*package, *name.split("."))
                    if target.with_suffix(".py").exists():
                        found.add(target.with_suffix(".py"))
        graph[path] = found
    done = set()

    def follow(path, trail):
        assert path not in trail, " -> ".join(p.stem for p in [*trail, path])
        if path in done:
            return
        for other in sorted(graph.get(path, ())):
            follow(other, [*trail, path])
        done.add(path)

    for path in graph:
        follow(path, [])
    assert len(done) > 60


def test_no_module_reaches_into_another_s_private_names():
    for _, path in modules():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level and node.module:
                for alias in node.names:
                    private = alias.name.startswith("_") and not alias.name.endswith("__")
                    assert not private or alias.name == "_core", (
                        f"{path.name} imports {node.module}.{alias.name}"
                    )


def sources():
    """Every file that the limits hold for, and what it is called there."""
    for pattern in ("*.py", "*.pyx", "*.pxi", "*.pxd", "*.pyi"):
        for path in sorted(PACKAGE.rglob(pattern)):
            yield "eiplane/" + path.relative_to(PACKAGE).as_posix(), path
    for path in sorted([*C_SOURCES.rglob("*.c"), *C_SOURCES.rglob("*.h")]):
        yield path.relative_to(C_SOURCES.parent).as_posix(), path


def python_functions(text):
    """The functions of a Python file, and their lines without the docstring."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                lines -= node.body[0].end_lineno - node.body[0].lineno + 1
            yield node.name, lines


def c_functions(text):
    """The functions of a C file, and their lines: a brace at the margin ends each."""
    head = r"^[A-Za-z_][^;{}=#]*?(\w+)\s*\([^;{}]*\)\s*\{"
    for found in re.finditer(head + r".*?^\}", text, re.MULTILINE | re.DOTALL):
        yield found[1], found[0].count("\n") + 1


def test_no_file_and_no_function_is_too_large_to_hold_in_mind():
    seen = 0
    for name, path in sources():
        text = path.read_text(encoding="utf-8")
        if name in TOO_LARGE:
            continue
        lines = len(text.splitlines())
        assert lines <= FILE_LINES, f"{name} has {lines} lines"
        functions = {".py": python_functions, ".c": c_functions, ".h": c_functions}
        for function, long in functions.get(path.suffix, lambda text: [])(text):
            seen += 1
            assert long <= FUNCTION_LINES, f"{name}: {function} has {long} lines"
    assert seen > 500


def test_what_counts_as_a_function_s_lines():
    assert list(python_functions('def f():\n    """Of\n    three.\n    """\n    return 1\n')) == [
        ("f", 2)
    ]
    text = "static int f(int a,\n             int b)\n{\n    return a;\n}\nint g(void);\n"
    assert list(c_functions(text + "void h(void) {\n    f(1, 2);\n}\n")) == [("f", 5), ("h", 3)]


def test_the_reference_never_imports_the_core():
    files = sorted((PACKAGE / "reference").glob("*.py"))
    assert files
    for path in files:
        assert ["_core"] not in list(imports(path)), path.name


def test_importing_eiplane_loads_no_optional_library():
    code = (
        "import sys, eiplane, numpy; eiplane.analyze(numpy.eye(2)); "
        "print([m for m in ('torch','matplotlib','pandas','safetensors','onnx','scipy','sklearn',"
        "'xarray','rich') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_a_missing_extra_says_how_to_get_it():
    code = (
        "import sys; sys.modules['pandas'] = None; import eiplane, numpy;\n"
        "try: eiplane.analyze(numpy.eye(2), measures='sensitivity').to_dataframe()\n"
        "except ImportError as error: print(error)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "eiplane[pandas]"' in run.stdout


def test_names_imported_when_asked_for_are_those_the_type_checkers_see():
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (n for n in tree.body if isinstance(n, ast.If))
    seen = {name.name for node in block.body for name in node.names}
    later = {name for names in eiplane._LATER.values() for name in names} | {"plot"}
    assert seen == later
    assert later < set(eiplane.__all__) <= set(dir(eiplane))
    for name in eiplane.__all__:
        assert getattr(eiplane, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'ablates'"):
        eiplane.ablates  # noqa: B018


def test_importing_eiplane_leaves_the_rooms_that_few_enter():
    code = (
        "import sys, eiplane; d = eiplane.analyze([[0.5, 1.0]]); "
        "rooms = ('plot', 'ablation', 'emergence', 'recurrence', 'training', 'report', 'cli'); "
        "print([r for r in rooms if f'eiplane.{r}' in sys.modules]); "
        "print(eiplane.tpm.__module__.split('.')[:2], eiplane.training.Tracker is eiplane.Tracker)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == ["[]", "['eiplane', 'emergence'] True"]
