"""What a file is that was handed to a function which does not read it, and what does.

By its first bytes where those say so, else by its name. Nothing of it is run.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from .damage import is_damage

__all__ = ["is_result", "kind_of"]

_WEIGHTS = "eiplane.analyze"
_RESULT = "a saved result, which eiplane.load opens"
_RUN = "the file of a tracked run, which eiplane.Tracker.load opens"
_PICKLE = (
    "a pickle, and eiplane never runs code from a file; open it yourself and pass what is in it"
)
_HDF5 = (
    "a file of HDF5; open it with keras.models.load_model, or with h5py, and pass the model or its "
    "arrays"
)
_KERAS = "a model of Keras; open it with keras.models.load_model and pass that"
_GGUF = (
    "GGUF, whose packed weights eiplane does not undo; pass the .safetensors that it was made from"
)
_TFLITE = "a model of TensorFlow Lite; pass the ONNX or Keras model that it was made from"
_SAVED_MODEL = "a SavedModel of TensorFlow; export it to ONNX, or pass the Keras model"
_TF_CHECKPOINT = (
    "a checkpoint of TensorFlow; read its arrays with tensorflow.train.load_checkpoint and pass "
    "those"
)
_ORBAX = "a checkpoint of Orbax; restore it and pass the tree of parameters"
_DISTRIBUTED = (
    "a distributed checkpoint of torch; convert it with torch.distributed.checkpoint.format_utils"
    ".dcp_to_torch_save and pass that"
)
_SCRIPT = "a TorchScript module; open it with torch.jit.load and pass that"
_PROGRAM = f"a program of torch.export, which {_WEIGHTS} opens"
_GRAPH = f"an ONNX graph, which {_WEIGHTS} opens"
_FILE = f"a file of weights, which {_WEIGHTS} opens"

#: The first bytes of a file, and what starts so.
_STARTS = (
    (b"GGUF", _GGUF),
    (b"\x89HDF\r\n\x1a\n", _HDF5),
    (b"MATLAB ", "a file of MATLAB; read it with scipy.io.loadmat and pass its arrays"),
    (b"\x89PNG", "a picture"),
    (b"GIF8", "a moving picture"),
    (b"%PDF", "a page of PDF"),
    (b"\x93NUMPY", f"an array of NumPy, which {_WEIGHTS} opens"),
)

#: The last part of a name, and what ends so.
_ENDS = (
    (".gguf", _GGUF), (".ggml", _GGUF), (".h5", _HDF5), (".hdf5", _HDF5), (".keras", _KERAS),
    (".tflite", _TFLITE), (".pb", _SAVED_MODEL), (".ckpt.index", _TF_CHECKPOINT),
    (".index", _TF_CHECKPOINT), (".data-00000-of-00001", _TF_CHECKPOINT),
    (".msgpack", "a tree of Flax; read it with flax.serialization.msgpack_restore and pass that"),
    (".distcp", _DISTRIBUTED), (".pkl", _PICKLE), (".pickle", _PICKLE), (".joblib", _PICKLE),
    (".p", _PICKLE), (".dill", _PICKLE), (".pt2", _PROGRAM), (".onnx", _GRAPH),
    (".safetensors", _FILE), (".npz", _FILE), (".npy", _FILE), (".pt", _FILE), (".pth", _FILE),
    (".bin", _FILE), (".jsonl", _RUN),
    (".edges", "the matrices of a tracked run; eiplane.Tracker.load opens the file beside it"),
    (".mlmodel", "a model of Core ML; pass the model that it was made from"),
    (".csv", "a table; read it with numpy.loadtxt or pandas and pass its numbers"),
    (".tsv", "a table; read it with numpy.loadtxt or pandas and pass its numbers"),
    (".html", "a page to look at in a browser; what it shows is kept in a result or a run"),
    (".json", "a file of JSON; of its numbers make arrays and pass those"),
)  # fmt: skip

#: Files in a directory that say what it is.
_INSIDE = (
    ("saved_model.pb", _SAVED_MODEL), ("_METADATA", _ORBAX), ("manifest.ocdbt", _ORBAX),
    (".metadata", _DISTRIBUTED),
)  # fmt: skip

_LOOKED = 1 << 16


def kind_of(path: str | Path, opened_by: str = "") -> str:
    """Return what a file is and which function opens it; nothing where that is not known.

    Parameters
    ----------
    path : path-like
        Of a file or a directory.
    opened_by : str
        The function that was asked; what it opens itself is not told.

    Returns
    -------
    str
        To be put behind ``it is ...``.
    """
    kind = _kind_of(Path(path))
    return "" if opened_by and f"which {opened_by} opens" in kind else kind


def _kind_of(path: Path) -> str:
    if path.is_dir() and path.suffix.lower() != ".edges":
        return _of_directory(path)
    start = b""
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(_LOOKED)
    for first, kind in _STARTS:
        if start.startswith(first):
            return kind
    if start[4:8] == b"TFL3":
        return _TFLITE
    if start.startswith(b'{"eiplane":'):
        return _RUN
    name = path.name.lower()
    named = next((kind for end, kind in _ENDS if name.endswith(end)), "")
    if start.startswith(b"PK\x03\x04"):
        return _of_archive(path) or ("" if named == _FILE else named)
    return named


def is_result(path: str | Path) -> bool:
    """Return whether a file is a result that was saved, by what its archive says of itself.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    bool
    """
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.getinfo("header.npy")
            with archive.open(member) as file:
                head = file.read(1 << 12)
    except Exception as error:  # no archive, a damaged one, or packed by an unknown method
        if not is_damage(error):
            raise
        return False
    # A text, of four bytes a letter, that is an object with this name in it first.
    text = head[10:].replace(b"\0", b"")
    return head.startswith(b"\x93NUMPY") and b'{"format":' in text


def _of_archive(path: Path) -> str:
    if is_result(path):
        return _RESULT
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception as error:
        if not is_damage(error):
            raise
        return ""
    if "header.npy" in names:  # of a result that is damaged, or of any array that is called so
        return ""
    lasts = {n.rpartition("/")[2] for n in names}
    if "model.weights.h5" in lasts:
        return _KERAS
    if any("/code/__torch__" in f"/{n}" for n in names) and "constants.pkl" in lasts:
        return _SCRIPT
    if {"archive_format"} <= lasts or "serialized_exported_program.json" in lasts:
        return _PROGRAM
    if "data.pkl" in lasts or (names and all(n.endswith(".npy") for n in names)):
        return _FILE
    return ""


def _of_directory(path: Path) -> str:
    for name, kind in _INSIDE:
        if (path / name).exists():
            return kind
    if any(path.glob("*.safetensors")):
        return f"a directory of weights, which {_WEIGHTS} opens"
    there = sorted(p.name for p in path.iterdir() if p.suffix in (".bin", ".pt", ".pth", ".onnx"))
    if there:
        return f"a directory with {', '.join(there[:4])} in it; pass the file that you mean"
    return ""
