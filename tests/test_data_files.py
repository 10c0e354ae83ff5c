"""Files of inputs for the command line, in batches."""

from __future__ import annotations

import numpy as np
import pytest

from eiplane.cli import main
from eiplane.cli.batches import read_batches


def test_an_array_in_batches(tmp_path):
    x = np.arange(70.0).reshape(10, 7)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", any=x)
    for path in (tmp_path / "x.npy", tmp_path / "x.npz"):
        parts = read_batches(path, 4)
        assert [len(p) for p in parts] == [4, 4, 2]
        assert np.array_equal(np.concatenate(parts), x)


def test_named_arrays_in_batches(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones((5, 2)), b=np.zeros((5, 3)))
    parts = read_batches(tmp_path / "x.npz", 3)
    assert [{k: v.shape for k, v in p.items()} for p in parts] == [
        {"a": (3, 2), "b": (3, 3)}, {"a": (2, 2), "b": (2, 3)},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "holds no array"),
        ({"a": np.ones((2, 2)), "b": np.ones((3, 2))}, "not of one length"),
        ({"a": np.ones(3)}, "is no batch"),
        ({"a": np.ones((0, 3))}, "is no batch"),
    ],
)
def test_what_is_no_data(tmp_path, arrays, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        read_batches(tmp_path / "x.npz")


def test_objects_and_rubbish_are_refused(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}, {}]), allow_pickle=True)
    (tmp_path / "r.npy").write_bytes(b"rubbish")
    for name in ("o.npy", "r.npy"):
        with pytest.raises(ValueError, match=r"no \.npy or \.npz file"):
            read_batches(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_batches(tmp_path / "none.npy")


def test_a_file_that_cannot_be_run(tmp_path, capsys):
    np.savez(tmp_path / "w.npz", w=np.eye(3))
    np.save(tmp_path / "x.npy", np.ones((4, 3)))
    command = ["analyze", str(tmp_path / "w.npz"), "--activation", "relu", "--ranges", "data"]
    assert main([*command, "--data", str(tmp_path / "x.npy")]) == 1
    error = capsys.readouterr().err
    assert "which can be run on data, not for" in error
    assert error.count("\n") == 1
