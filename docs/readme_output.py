"""Runs the README's example and puts what it prints below it, in place of what stands there.

Called as ``python readme_output.py README.md``.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path

CODE = re.compile(r"```python\n(.*?)```", re.S)
OUTPUT = re.compile(r"```text\n(.*?)```", re.S)


def example(text: str) -> tuple[str, str]:
    """Return the first program of a page, and the output that stands below it."""
    code, output = CODE.search(text), OUTPUT.search(text)
    if code is None or output is None:
        raise ValueError("the page has no program with an output")
    return code[1], output[1]


def printed(code: str) -> str:
    """Return what a program prints, run in an empty folder."""
    before, said = Path.cwd(), io.StringIO()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(said):
        os.chdir(folder)
        try:
            exec(compile(code, "README.md", "exec"), {})
        finally:
            os.chdir(before)
    return said.getvalue()


def main() -> None:
    """Renew the page."""
    page = Path(sys.argv[1])
    text = page.read_text("utf-8")
    new = printed(example(text)[0])
    page.write_text(OUTPUT.sub(lambda _: f"```text\n{new}```", text, count=1), "utf-8")


if __name__ == "__main__":
    main()
