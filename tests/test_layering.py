"""Which module may import which, and what importing eiplane loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import eiplane

PACKAGE = Path(eiplane.__file__).parent

#: The rooms, from the lowest to the highest; a file may import only from its own room and those
#: before it, wherever in the file the import stands.
ROOMS = [
    "files",
    "network",
    "_core",
    "reference",
    "run",
    "results",
    "extract",
    "information",
    "pairwise",
    "joint",
    "analyze",
    "training",
    "callbacks",
    "plot",
    "report",
    "reproduce",
    "cli",
]

#: Imported from anywhere, importing nothing.
EVERYWHERE = {"_version"}

#: The doors upwards. Drawing is reached from results only when it is asked for.
DOORS = {("results/decomposition.py", "plot")}


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
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
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


def test_the_reference_never_imports_the_core():
    assert ["_core"] not in list(imports(PACKAGE / "reference.py"))


def test_importing_eiplane_loads_no_optional_library():
    code = (
        "import sys, eiplane, numpy; eiplane.analyze(numpy.eye(2)); "
        "print([m for m in ('torch','matplotlib','pandas','safetensors','onnx','scipy','sklearn',"
        "'xarray','plotly','rich') if m in sys.modules])"
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
