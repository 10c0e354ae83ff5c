"""Build of the compiled core; everything else is in pyproject.toml.

Environment variables of a developer's build:

* ``EIPLANE_SANITIZE=1``: AddressSanitizer and UndefinedBehaviorSanitizer,
* ``EIPLANE_DEBUG=1``: no optimisation, assertions on.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

# No -march=native and no contraction into FMA: one wheel for every CPU, the same numbers on each.
compile_args = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
compile_args += ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-unused-parameter"]
link_args: list[str] = []
if os.environ.get("EIPLANE_DEBUG"):
    compile_args += ["-O0", "-g", "-UNDEBUG"]
if os.environ.get("EIPLANE_SANITIZE"):
    compile_args += ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
    link_args += ["-fsanitize=address,undefined"]

setup(
    ext_modules=cythonize(
        [
            Extension(
                "eiplane._core",
                sources=["eiplane/_core.pyx", *sorted(map(str, Path("csrc").glob("*.c")))],
                depends=sorted(map(str, Path("csrc").glob("*.h"))),
                include_dirs=["csrc"],
                libraries=["m"],
                extra_compile_args=compile_args,
                extra_link_args=link_args,
            )
        ],
        compiler_directives={
            "language_level": 3,
            "boundscheck": False,
            "wraparound": False,
            "initializedcheck": False,
            "cdivision": True,
            "freethreading_compatible": True,
        },
    ),
)
