"""Which module may import which, and what importing eiplane loads."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import eiplane

PACKAGE = Path(eiplane.__file__).parent

#: Data's way, from the lowest to the highest; a module may import only what stands before it.
ORDER = [
    "extras",
    "files",
    "activation",
    "layer",
    "channel",
    "parallel",
    "sampling",
    "result",
    "reference",
    "_core",
    "settings",
    "progress",
    "entropy",
    "information",
    "pairwise",
    "exact",
    "given",
    "bounds",
    "vectors",
    "cells",
    "pieces",
    "joint",
    "groups",
    "extract",
    "analyze",
    "jsonl",
    "history",
    "watch",
    "background",
    "track",
    "callbacks",
    "convergence",
]


def imports(path, top):
    """Relative imports of a module, as names of modules below the package."""
    package = path.relative_to(PACKAGE).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [*base, *(node.module or "").split(".")]
            names = [n for n in names if n]
            yield from [names[0]] if names else [alias.name for alias in node.names]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        yield path.relative_to(PACKAGE).with_suffix("").parts[0], path


def test_arrows_point_one_way():
    seen = 0
    for name, path in modules():
        if name not in ORDER:
            continue
        for other in imports(path, name):
            if other in ORDER and other != name:
                # Drawing is reached from results only when it is asked for.
                assert ORDER.index(other) < ORDER.index(name), f"{path.name} imports {other}"
                seen += 1
    assert seen > 20


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
    assert "_core" not in set(imports(PACKAGE / "reference.py", "reference"))


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
