"""What the networks learn: Iris, scikit-learn's digits, MNIST from a folder of IDX files."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import require

__all__ = ["Task", "digits", "iris", "mnist", "read_idx"]

Array = NDArray[np.float32]
Labels = NDArray[np.int64]

#: The paper's training set, of the 35,735 images of digits 0 to 4.
MNIST_TRAIN = 25_000

#: What is trained on where only the 10,000 test images are at hand.
MNIST_SMALL_TRAIN = 4_300

DIGITS_TRAIN = 700
IRIS_TRAIN = 100


@dataclass(frozen=True, eq=False)
class Task:
    """Inputs and labels, to learn from and to test on.

    Parameters
    ----------
    name : str
    x, test_x : ndarray of float32, shape (n, inputs)
        In 0 to 1.
    label, test_label : ndarray of int64, shape (n,)
    classes : int
    note : str
        Where they come from, for the summary.
    """

    name: str
    x: Array
    label: Labels
    test_x: Array
    test_label: Labels
    classes: int
    note: str

    def targets(self) -> Array:
        """Return the labels one-hot, shape (n, classes)."""
        return np.eye(self.classes, dtype=np.float32)[self.label]


def iris(seed: int) -> Task:
    """Return Fisher's Iris: divided by 8, shuffled, 100 flowers to learn from, 50 to test on."""
    data = require("sklearn.datasets", "reproduce").load_iris()
    order = np.random.default_rng(seed).permutation(len(data.target))
    x, label = (data.data[order] / 8.0).astype(np.float32), data.target[order].astype(np.int64)
    n = IRIS_TRAIN
    note = f"Fisher's Iris from scikit-learn, inputs divided by 8: {n} to learn from, 50 to test on"
    return Task("iris", x[:n], label[:n], x[n:], label[n:], 3, note)


def digits(seed: int, side: int = 5, classes: int = 5) -> Task:
    """Return the first classes of scikit-learn's digits, 8x8 brought to another size."""
    data = require("sklearn.datasets", "reproduce").load_digits()
    few = data.target < classes
    images, label = data.images[few] / 16.0, data.target[few].astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(label))
    x, label = shrink(images[order], side), label[order]
    n = DIGITS_TRAIN * classes // 5
    note = (
        f"scikit-learn's digits 0 to {classes - 1} (8x8 {'shrunk' if side < 8 else 'enlarged'} to "
        f"{side}x{side}): {n} to learn from, {len(label) - n} to test on"
    )
    return Task("digits", x[:n], label[:n], x[n:], label[n:], classes, note)


def mnist(
    folder: str | Path, side: int = 5, classes: int = 5, shifts: tuple[int, ...] = (0,)
) -> Task:
    """Return the first classes of MNIST's digits, 28x28 shrunk.

    Parameters
    ----------
    folder : path-like
        Holds the IDX files, packed (``.gz``) or not. With the training images the split is the
        paper's, 25,000 to learn from and the rest to test on; with the test images alone 4,300 of
        their 5,139 are learnt from (of all ten classes 8,000).
    side : int
        Of the shrunk images.
    classes : int
    shifts : tuple of int
        Pixels by which the images to learn from are shifted, across and down, before they are
        shrunk; all pairs of them, so that (-1, 0, 1) gives nine times as many.

    Raises
    ------
    FileNotFoundError
        If the folder holds neither.
    ValueError
        If a file is no IDX file.
    """
    place = Path(folder)
    parts = [p for p in ("train", "t10k") if _idx_file(place, f"{p}-images-idx3-ubyte")]
    if not parts:
        raise FileNotFoundError(
            f"{place}: no MNIST here; expected t10k-images-idx3-ubyte(.gz) and "
            "t10k-labels-idx1-ubyte(.gz), and the same of train"
        )
    images, labels = [], []
    for part in parts:
        picture, name = f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"
        label_file, image_file = _idx_file(place, name), _idx_file(place, picture)
        if label_file is None or image_file is None:
            raise FileNotFoundError(f"{place}: {picture} is here, but {name} is not")
        label = read_idx(label_file).astype(np.int64)
        few = label < classes
        images.append(read_idx(image_file)[few] / 255.0)
        labels.append(label[few])
    pictures, label = np.concatenate(images), np.concatenate(labels)
    full = "train" in parts
    n = (MNIST_TRAIN if full else MNIST_SMALL_TRAIN) if classes == 5 else len(label) * 4 // 5
    if len(label) <= n:
        raise ValueError(
            f"{place}: only {len(label)} images of digits 0 to {classes - 1}; {n + 1} are needed"
        )
    moved = [np.roll(pictures[:n], (down, across), (1, 2)) for down in shifts for across in shifts]
    note = (
        f"MNIST's digits 0 to {classes - 1} (28x28 shrunk to {side}x{side}): {n:,} to learn from, "
        f"{len(label) - n:,} to test on"
    ) + ("" if full else " (only the test images were at hand; the paper learns from 25,000)")
    if len(moved) > 1:
        note += f"; those to learn from shifted by {min(shifts)} to {max(shifts)} pixels each way"
    return Task(
        "mnist", shrink(np.concatenate(moved), side), np.tile(label[:n], len(moved)),
        shrink(pictures[n:], side), label[n:], classes, note,
    )  # fmt: skip


def shrink(images: NDArray[Any], size: int) -> Array:
    """Return images shrunk to a square, bilinear with anti-aliasing, one a row."""
    torch = require("torch", "reproduce")
    batch = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32))[:, None]
    small = torch.nn.functional.interpolate(
        batch, size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )
    return np.asarray(small.flatten(1).clamp(0.0, 1.0).numpy())


def read_idx(path: str | Path) -> NDArray[np.uint8]:
    """Read an IDX file of bytes.

    Parameters
    ----------
    path : path-like
        Packed with gzip if it ends in ``.gz``.

    Returns
    -------
    ndarray of uint8

    Raises
    ------
    ValueError
        If it is no such file.
    """
    place = Path(path)
    try:
        raw = gzip.decompress(place.read_bytes()) if place.suffix == ".gz" else place.read_bytes()
    except (gzip.BadGzipFile, EOFError) as error:
        raise ValueError(f"{place}: not a gzip file: {error}") from None
    if len(raw) < 4 or raw[:3] != b"\0\0\x08":
        raise ValueError(f"{place}: not an IDX file of bytes")
    start = 4 + 4 * raw[3]
    shape = tuple(int(n) for n in np.frombuffer(raw[4:start], ">u4"))
    if len(raw) != start + int(np.prod(shape)):
        raise ValueError(f"{place}: an IDX file of shape {shape} has another length")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)


def _idx_file(folder: Path, name: str) -> Path | None:
    for place in (folder / name, folder / f"{name}.gz"):
        if place.exists():
            return place
    return None
