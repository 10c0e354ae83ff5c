"""Every line of the contract's list of bad input, from Python and from the command line."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest

import eiplane

W = np.ones((3, 2))


def bad(weights, match, error=ValueError, **options):
    with pytest.raises(error, match=match):
        eiplane.analyze(weights, **options)


class TestPython:
    def test_sizes_that_do_not_chain(self):
        bad(
            [np.ones((3, 2)), np.ones((4, 5))],
            r"layer '1' takes 5 inputs but layer '0' has 3 outputs",
        )

    def test_says_that_transposing_would_help(self):
        bad([np.ones((3, 2)), np.ones((3, 5))], "transposing '1' would fix it")
        bad([np.ones((2, 3)), np.ones((4, 3)), np.ones((1, 4))], "transposing '0' would fix it")
        bad([np.ones((2, 3)), np.ones((3, 4))], "transposing both would fix it")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_names_the_entry_that_is_not_finite(self, value):
        weights = np.ones((3, 4))
        weights[1, 2] = value
        bad([np.ones((4, 2)), weights], r"layer '1': weight has 1 entries .* at \[1, 2\]")
        bad([(W, np.array([0, value, 0]))], r"layer '0': bias .* at \[1\]")

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
    def test_empty_layer(self, shape):
        bad(np.ones(shape), "empty")

    def test_no_layers(self):
        bad([], "at least one")

    def test_one_dimension(self):
        bad(np.ones(3), r"shape \(n_out, n_in\)")

    @pytest.mark.parametrize("bins", [1, 0, -8, 1025, (8, 1), (1, 8)])
    def test_bins(self, bins):
        bad(W, "bins must be from 2 to 1024", bins=bins)

    @pytest.mark.parametrize("bins", [2.5, "8", True, None, (8, 8.0)])
    def test_bins_of_another_kind(self, bins):
        bad(W, "bins", TypeError, bins=bins)

    @pytest.mark.parametrize("name", ["in_range", "out_range"])
    @pytest.mark.parametrize(
        ("value", "match"),
        [
            ((1, 0), "lo < hi"),
            ((1, 1), "lo < hi"),
            ((0, np.inf), "finite"),
            ((np.nan, 1), "finite"),
            ((-1e308, 1e308), "too wide"),
        ],
    )
    def test_ranges(self, name, value, match):
        bad(W, f"{name}.*{match}", **{name: value})

    @pytest.mark.parametrize("value", [3, "wide", None])
    def test_out_range_of_another_kind(self, value):
        bad(W, "out_range must be", out_range=value)

    def test_out_ranges_for_another_number_of_layers(self):
        bad(W, "3 ranges were given for 1 layers", out_range=["auto", (0, 1), (0, 2)])

    def test_unknown_activation(self):
        bad(W, r"layer '0': unknown activation 'sine'; known: .*relu.*sigmoid", activation="sine")
        bad(W, "must be positive", activation="elu(-1)")
        bad(W, "parameters", activation="relu(1, 2)")
        bad(W, "activation", TypeError, activation=3)

    @pytest.mark.parametrize("array", [W + 1j, np.array([[object()]]), np.array([["a"]])])
    def test_arrays_that_are_not_real(self, array):
        bad(array, "layer '0': weight must be an array of real numbers", TypeError)

    def test_ragged(self):
        bad([[[1.0, 2.0], [3.0]]], "real numbers", (TypeError, ValueError))

    def test_bias_that_does_not_fit(self):
        bad([(W, np.ones(2))], r"layer '0': bias must have shape \(3,\)")

    def test_not_weights_at_all(self):
        bad(7, "weights must be", TypeError)
        bad(object(), "weights must be", TypeError)

    @pytest.mark.parametrize(
        ("options", "error", "match"),
        [
            ({"measures": "everything"}, ValueError, "measures: unknown 'everything'"),
            ({"measures": ()}, ValueError, "nothing to compute"),
            ({"method": "guess"}, ValueError, "'auto' or 'exact' or 'sample'"),
            ({"outliers": "keep"}, ValueError, "'clip' or 'drop'"),
            ({"estimator": "best"}, ValueError, "'conditional' or 'plugin'"),
            ({"baseline": np.nan}, ValueError, "baseline"),
            ({"samples": 0}, ValueError, "samples"),
            ({"samples": 2.5}, TypeError, "samples"),
            ({"samples": 2**40}, ValueError, "samples"),
            ({"tol": 0}, ValueError, "tol"),
            ({"tol": "low"}, ValueError, "tol"),
            ({"threads": 0}, ValueError, "threads"),
            ({"threads": 1.5}, TypeError, "threads"),
            ({"executor": 4}, TypeError, "executor"),
            ({"rng": -1}, ValueError, "rng"),
            ({"rng": "seed"}, TypeError, "rng"),
            ({"spans": "some"}, ValueError, "spans"),
            ({"spans": [(0, 9)]}, ValueError, "no layer 9"),
            ({"spans": [3]}, (ValueError, TypeError), "span|iterable"),
            ({"layers": "fc9"}, ValueError, "fc9"),
        ],
    )
    def test_options(self, options, error, match):
        bad(W, match, error, **options)

    def test_threads_variable(self, monkeypatch):
        monkeypatch.setenv("EIPLANE_THREADS", "many")
        bad(W, "EIPLANE_THREADS")

    def test_inputs_are_left_alone(self, generator):
        weights = [generator.normal(size=(4, 3)), generator.normal(size=(2, 4))]
        before = [w.copy() for w in weights]
        for w in weights:
            w.flags.writeable = False
        eiplane.analyze(weights, measures="degeneracy")
        assert all(np.array_equal(a, b) for a, b in zip(weights, before, strict=True))

    @pytest.mark.parametrize(
        "convert",
        [
            lambda w: w.astype(np.float32),
            lambda w: w.astype(np.float16),
            lambda w: w.astype(">f8"),
            np.asfortranarray,
            lambda w: np.repeat(w, 2, axis=1)[:, ::2],
            lambda w: w.tolist(),
        ],
    )
    def test_kinds_of_arrays(self, generator, convert):
        w = generator.integers(-8, 8, (3, 5)) / 4.0  # exact in every type
        options = {"measures": "degeneracy", "method": "sample", "samples": 1000}
        wanted = eiplane.analyze(w, **options)
        assert eiplane.analyze(convert(w), **options)[0].ei_parts == wanted[0].ei_parts


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "eiplane", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


class TestCommandLine:
    @pytest.fixture
    def file(self, tmp_path):
        def write(*arrays):
            path = tmp_path / "w.npz"
            np.savez(path, **{f"fc{i}": a for i, a in enumerate(arrays)})
            return path

        return write

    def problem(self, result, *words):
        assert result.returncode == 1, result.stderr
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1
        assert "Traceback" not in result.stderr
        for word in words:
            assert word in result.stderr

    def test_weights(self, file):
        weights = np.ones((3, 4))
        weights[1, 2] = np.nan
        sigmoid = ("--activation", "sigmoid")
        self.problem(run("analyze", file(weights), *sigmoid), "fc0", "NaN", "[1, 2]")
        self.problem(run("analyze", file(W + 1j), *sigmoid), "fc0", "real")
        self.problem(run("analyze", file(np.ones((0, 3))), *sigmoid), "fc0", "empty")

    def test_options(self, file):
        path = file(W)
        self.problem(run("analyze", path), "activation")
        self.problem(run("analyze", path, "--activation", "sine"), "sine", "known")
        sigmoid = (path, "--activation", "sigmoid")
        self.problem(run("analyze", *sigmoid, "--bins", 1), "bins", "2 to 1024")
        self.problem(run("analyze", *sigmoid, "--in-range", "1,0"), "in_range", "lo < hi")
        self.problem(run("analyze", *sigmoid, "--out-range", "0,inf"), "out_range", "finite")
        self.problem(run("analyze", *sigmoid, "--layers", "conv*"), "conv*", "fc0")
        self.problem(run("analyze", *sigmoid, "--measures", "all"), "measures", "'all'")

    def test_files(self, tmp_path, file):
        self.problem(run("analyze", tmp_path / "none.npz", "--activation", "relu"), "none.npz")
        for name in ("w.npz", "w.safetensors", "w.pt", "w.txt"):
            path = tmp_path / name
            path.write_bytes(b"these are not weights")
            self.problem(run("analyze", path, "--activation", "relu"), name)

    def test_wrong_usage(self, file):
        for arguments in (
            (),
            ("dance",),
            ("analyze",),
            ("analyze", "w.npz", "--bins", "few"),
            ("analyze", "w.npz", "--method", "guess"),
            ("analyze", "w.npz", "--nonsense"),
        ):
            result = run(*arguments)
            assert result.returncode == 2
            assert result.stdout == ""
            assert result.stderr.count("\n") == 1

    def test_nothing_is_written_when_it_fails(self, tmp_path, file):
        out = tmp_path / "no" / "d.npz"
        self.problem(
            run(
                "analyze", file(W), "--activation", "relu", "--measures", "ei_parts", "--save", out
            ),
            "no",
        )
        assert sorted(p.name for p in tmp_path.iterdir()) == ["w.npz"]


@pytest.mark.parametrize(
    ("weight", "bias", "options"),
    [
        (np.full((2, 2), 1e300), None, {}),
        (np.array([[1.0, -1e200], [0.5, 0.5]]), None, {"activation": "relu"}),
        (np.eye(2), np.array([0.0, 1e300]), {}),
        (np.eye(2), None, {"in_range": (-1e217, 1e217)}),
        (np.full((2, 2), 1e100), None, {"in_range": (0, 1e100), "activation": "identity"}),
        (np.full((2, 2), 1e149, np.float64), None, {"in_range": (0, 40), "activation": "tanh"}),
    ],
)
def test_products_that_leave_float64(weight, bias, options):
    """A clear error that names the layer, and no warning from inside."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match=r"layer 'big'.*leave float64"):
            eiplane.analyze(
                [eiplane.Layer(weight, bias, options.pop("activation", "sigmoid"), "big")],
                **options,
            )


def test_what_is_large_and_still_right():
    """Steep sigmoids are steps: 1e140 gives what 1e9 gives."""
    weight = np.array([[1.0, -2.0], [3.0, 0.5]])
    few, many = (
        eiplane.analyze([weight * scale], measures=("sensitivity", "ei_parts"), in_range=(-1, 1))[0]
        for scale in (1e9, 1e140)
    )
    np.testing.assert_allclose(few.ei_edges, many.ei_edges, atol=1e-6)
    np.testing.assert_allclose(few.sensitivity_edges, many.sensitivity_edges, atol=1e-6)
