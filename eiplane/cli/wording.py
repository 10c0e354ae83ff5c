"""Messages as the command line says them: its own options, not Python's arguments."""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from ..files import meant

__all__ = ["about_file", "near_choice", "spoken", "unknown_options"]

_OPTIONS = (
    "activation|layers|key|input_size|measures|spans|method|estimator|samples|tol|bins|in_range"
    "|out_range|outliers|ranges|quantiles|noise|baseline|threads|memory_limit|normalize|scale"
)
_PHRASES = {
    "activation='relu' or another, a list of one per layer, or a mapping of names or globs": (
        "--activation relu or another, --activation 'GLOB=NAME' for some, or a list with commas"
    ),
    "take those of a Module from input_data with ranges='data'": (
        "take those of an .onnx graph or a .pt2 program from --data with --ranges data"
    ),
    "or ranges='data' and input_data": "or --ranges data and --data",
    "input_size= or input_data=": "--input-size or --data",
    "strict=True": "--strict",
    "input_size and input_data": "--input-size and --data",
}
_CHOICE = re.compile(r"invalid choice: '(?P<word>[^']*)' \(choose from (?P<known>.*)\)$")


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def spoken(message: str) -> str:
    """Return a message of the library with the command line's options for Python's arguments.

    Parameters
    ----------
    message : str

    Returns
    -------
    str
    """
    for phrase, said in _PHRASES.items():
        message = message.replace(phrase, said)
    some = rf"\b({_OPTIONS})="
    pair = r"\((\w+), (\w+)\)"
    message = re.sub(
        rf"{some}\{{'([^']*)': {pair}\}}",
        lambda m: f"{_option(m[1])} '{m[2]}={m[3].upper()},{m[4].upper()}'",
        message,
    )
    message = re.sub(
        some + pair, lambda m: f"{_option(m[1])} {m[2].upper()},{m[3].upper()}", message
    )
    message = re.sub(rf"{some}'([^']*)'", lambda m: f"{_option(m[1])} {m[2]}", message)
    message = re.sub(rf"{some}(?=\w)", lambda m: f"{_option(m[1])} ", message)
    message = re.sub(rf"{some}(?!\S*[\w'\"(\[{{])", lambda m: _option(m[1]), message)
    return re.sub(r"\binput_data\b=?", "--data", message)


def about_file(error: OSError) -> str:
    """Return what went wrong with a file, and which one may have been meant.

    Parameters
    ----------
    error : OSError

    Returns
    -------
    str
    """
    if not isinstance(error.filename, str | os.PathLike) or not error.strerror:
        return str(error)
    path = Path(error.filename)
    said = f"{path}: {error.strerror[0].lower()}{error.strerror[1:]}"
    if not isinstance(error, FileNotFoundError):
        return said
    if not path.parent.is_dir():
        return f"{said}: there is no folder {path.parent}"
    try:
        there = os.listdir(path.parent)
    except OSError:
        return said
    return said + meant(path.name, there)


def near_choice(message: str) -> str:
    """Return a message of argparse, with the choice that may have been meant.

    Parameters
    ----------
    message : str

    Returns
    -------
    str
    """
    found = _CHOICE.search(message)
    near = found and meant(found["word"], re.findall(r"[\w-]+", found["known"]))
    return message.replace(message[message.index(" (choose") :], near) if near else message


def unknown_options(parser: argparse.ArgumentParser, words: list[str]) -> str:
    """Return what to say of words that a command does not take.

    Parameters
    ----------
    parser : ArgumentParser
        The command's.
    words : list of str
        The first is the one to blame.

    Returns
    -------
    str
    """
    word = words[0].partition("=")[0]
    if not word.startswith("-"):
        return f"unexpected {' '.join(words)}"
    known = re.findall(r"(?<![\w-])-{1,2}[a-z][a-z-]*", parser.format_usage())
    return f"no such option: {word}{meant(word, known)}"
