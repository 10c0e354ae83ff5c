"""Build of the compiled core; everything else is in pyproject.toml.

Environment variables of a developer's build:

* ``EIPLANE_SANITIZE=1``: AddressSanitizer and UndefinedBehaviorSanitizer,
* ``EIPLANE_DEBUG=1``: no optimisation, assertions on,
* ``EIPLANE_ONLY=baseline`` (``avx2``, ``avx512``, ``neon``): the kernels of one instruction set
  alone; ``plain``: the baseline in standard C, as a compiler without vector extensions sees it.

One wheel serves every CPython from 3.11 on (the limited API, abi3). Free-threaded CPython has no
limited API, and gets a wheel for its own version.
"""

import os
import sysconfig
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

# No -march=native and no contraction into FMA: one wheel for every CPU, the same numbers on each.
compile_args = ["-std=c11", "-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math"]
compile_args += ["-Wall", "-Wextra", "-Wno-psabi", "-Wno-unused-parameter"]
compile_args += ["-fvisibility=hidden"]
link_args: list[str] = []
# Microsoft's compiler has no vector extensions: csrc/common/ei_compiler.h.
msvc_args = ["/std:c11", "/O2", "/fp:precise"]
if os.environ.get("EIPLANE_DEBUG"):
    compile_args += ["-O0", "-g", "-UNDEBUG"]
if os.environ.get("EIPLANE_SANITIZE"):
    compile_args += ["-O1", "-g", "-fsanitize=address,undefined", "-fno-omit-frame-pointer"]
    link_args += ["-fsanitize=address,undefined"]
macros: list[tuple[str, str | None]] = []
if only := os.environ.get("EIPLANE_ONLY"):
    if only not in ("baseline", "avx2", "avx512", "neon", "plain"):
        raise SystemExit(f"EIPLANE_ONLY: baseline, avx2, avx512, neon or plain, not {only!r}")
    macros += [("EI_PLAIN" if only == "plain" else f"EI_ONLY_{only.upper()}", None)]


limited = not sysconfig.get_config_var("Py_GIL_DISABLED")
if limited:
    macros += [("Py_LIMITED_API", "0x030B0000")]


class BuildCore(build_ext):
    """Compilers warn about our own C, not about the C that Cython writes."""

    def build_extensions(self):
        if self.compiler.compiler_type == "msvc":
            for extension in self.extensions:
                extension.extra_compile_args = msvc_args
                extension.extra_link_args, extension.libraries = [], []
            super().build_extensions()
            return
        compile_one = self.compiler._compile

        def compile_quietly(obj, src, ext, cc_args, postargs, pp_opts):
            if Path(src).parts[0] != "csrc":
                postargs = [*(a for a in postargs if not a.startswith("-W")), "-w"]
            compile_one(obj, src, ext, cc_args, postargs, pp_opts)

        self.compiler._compile = compile_quietly
        super().build_extensions()


def core(pattern: str) -> list[str]:
    return sorted(map(str, Path("csrc").rglob(pattern)))


setup(
    cmdclass={"build_ext": BuildCore},
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if limited else {},
    ext_modules=cythonize(
        [
            Extension(
                "eiplane._core",
                sources=["eiplane/_core.pyx", *core("*.c")],
                depends=core("*.h"),
                include_dirs=["csrc"],
                define_macros=macros,
                libraries=["m"],
                py_limited_api=limited,
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
