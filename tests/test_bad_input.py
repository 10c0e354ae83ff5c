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
        meant = r"layer '0': unknown activation 'sine' \(did you mean 'sin'\?\); known: .*relu.*sig"
        bad(W, meant, activation="sine")
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
            ({"estimator": "best"}, ValueError, "'auto' or 'conditional' or 'wide' or 'plugin'"),
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
                "analyze",
                file(W),
                "--activation",
                "relu",
                "--measures",
                "ei_parts",
                "--in-range",
                "0,1",
                "--save",
                out,
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


def test_a_range_that_leaves_float64():
    with pytest.raises(ValueError, match=r"in_range is too wide.*1e\+150.*1e\+217"):
        eiplane.analyze(np.eye(2), in_range=(-1e217, 1e217))


def test_what_is_large_and_still_right():
    """Steep sigmoids are steps: 1e140 gives what 1e9 gives."""
    weight = np.array([[1.0, -2.0], [3.0, 0.5]])
    few, many = (
        eiplane.analyze([weight * scale], measures=("sensitivity", "ei_parts"), in_range=(-1, 1))[0]
        for scale in (1e9, 1e140)
    )
    np.testing.assert_allclose(few.ei_edges, many.ei_edges, atol=1e-6)
    np.testing.assert_allclose(few.sensitivity_edges, many.sensitivity_edges, atol=1e-6)


# -- ranges by name ----------------------------------------------------------------------------


def test_ranges_by_the_names_of_layers():
    """What is given for a layer is what a chain of its own would have."""
    rng = np.random.default_rng(0)
    state = {f"{part}.{i}.weight": rng.normal(size=(3, 3)) for part in "ab" for i in range(2)}
    d = eiplane.analyze(
        state, "tanh", measures="sensitivity",
        in_range={"a.*": (-4, 4), "b.1": (0, 2), None: (0, 3)},
        out_range={"a.0": (-0.5, 0.5), "b.*": "auto"},
    )  # fmt: skip
    assert [layer.in_range for layer in d] == [(-4, 4), (-4, 4), (0, 3), (0, 2)]
    assert [layer.out_range for layer in d] == [(-0.5, 0.5), (-1, 1), (-1, 1), (-1, 1)]
    alone = eiplane.analyze(
        state["a.0.weight"], "tanh", measures="sensitivity", in_range=(-4, 4), out_range=(-0.5, 0.5)
    )
    np.testing.assert_array_equal(d["a.0"].sensitivity_edges, alone[0].sensitivity_edges)
    assert d.settings["in_range"] == {"": [0, 3], "a.*": [-4, 4], "b.1": [0, 2]} or d.settings[
        "in_range"
    ] == {"": (0, 3), "a.*": (-4, 4), "b.1": (0, 2)}
    chain = eiplane.analyze(
        [np.eye(2)] * 3, "relu", measures="sensitivity", in_range={"1": (-7, 7)}, spans="all"
    )
    assert chain["0"].in_range == (0, 1)
    assert chain["1"].in_range == (-7, 7)
    assert chain["2"].in_range == chain["1"].out_range
    assert chain["0..2"].in_range == (0, 1)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"in_range": {"x": (0, 1)}}, ValueError, "no layer matches 'x'; there are '0', '1'"),
        ({"out_range": {"x*": (0, 1)}}, ValueError, "out_range: no layer matches"),
        ({"in_range": {"0": (1, 0)}}, ValueError, "in_range of '0' must have lo < hi"),
        ({"in_range": {"0": "auto"}}, ValueError, "in_range of '0' must be a pair"),
        ({"in_range": {0: (0, 1)}}, TypeError, "names or globs"),
        ({"in_range": {None: (0, np.inf)}}, ValueError, "in_range must be finite"),
    ],
)
def test_bad_ranges_by_name(options, kind, message):
    with pytest.raises(kind, match=message):
        eiplane.analyze([np.eye(2)] * 2, measures="sensitivity", **options)


def test_options_that_nobody_knows_are_told_by_whom_they_were_given(tmp_path):
    """Also where nothing would be measured with them."""
    from eiplane.report import write_report

    found, page = eiplane.analyze(W, measures="sensitivity"), tmp_path / "p.html"
    calls = {
        "ablate": lambda **o: eiplane.ablate([W], "weight", evaluate=lambda w: 1.0, **o),
        "Tracker": lambda **o: eiplane.Tracker(lambda: [W], **o),
        "write_report": lambda **o: write_report(found, page, **o),
    }
    for name, call in calls.items():
        with pytest.raises(TypeError, match=rf"^{name}\(\) .*'bin' \(did you mean 'bins'\?\)$"):
            call(bin=4)
    assert not page.exists()


@pytest.mark.parametrize("samples", [100, 2.5, None, "100"])
def test_convergence_takes_several_sizes(samples):
    with pytest.raises(TypeError, match=f"samples must be a sequence of whole .*, got {samples!r}"):
        eiplane.convergence(W, samples)


def test_ranges_and_key_on_the_command_line(tmp_path, capsys):
    from eiplane.cli import main

    np.savez(tmp_path / "m.npz", a=np.eye(2), b=np.ones((2, 2)))
    arguments = ["analyze", str(tmp_path / "m.npz"), "--activation", "tanh", "--format", "json",
                 "--measures", "sensitivity", "--in-range", "b*=-4,4", "--in-range", "0,3",
                 "--out-range", "a=-0.5,0.5"]  # fmt: skip
    assert main(arguments) == 0
    layers = {x["name"]: x for x in __import__("json").loads(capsys.readouterr().out)["layers"]}
    assert layers["a"]["in_range"] == [0, 3]
    assert layers["b"]["in_range"] == [-4, 4]
    assert layers["a"]["out_range"] == [-0.5, 0.5]
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--in-range", "b=4"])
    assert stopped.value.code == 2
    torch = pytest.importorskip("torch")
    nets = {
        n: {"fc.weight": torch.eye(2) * k, "fc.bias": torch.ones(2)} for k, n in enumerate("xy")
    }
    torch.save(nets, tmp_path / "m.pt")
    short = ["analyze", str(tmp_path / "m.pt"), "--activation", "tanh", "--measures", "sensitivity"]
    capsys.readouterr()
    assert main(short) == 1
    assert "x (1 weights), y (1 weights)" in capsys.readouterr().err
    assert main([*short, "--key", "y"]) == 0


# -- warnings ----------------------------------------------------------------------------------


def test_warnings_point_at_the_caller_s_line(tmp_path):
    from eiplane.joint import SaturationWarning

    weight = np.random.default_rng(0).normal(size=(12, 12))
    with pytest.warns(SaturationWarning) as caught:
        eiplane.analyze([weight], measures="ei", samples=50, estimator="conditional")
    assert {w.filename for w in caught} == {__file__}
    with pytest.warns(UserWarning, match="not analysed") as caught:
        eiplane.analyze({"fc.weight": weight, "emb.weight": weight}, "relu", measures="sensitivity")
    assert {w.filename for w in caught} == {__file__}


@pytest.mark.parametrize("background", [False, True])
def test_a_run_tells_of_saturation_once_a_layer(background):
    from eiplane.joint import SaturationWarning

    rng = np.random.default_rng(0)
    weights = [rng.normal(size=(12, 12)), rng.normal(size=(12, 12))]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with eiplane.Tracker(
            lambda: [w + rng.normal() for w in weights], measures="ei", samples=50,
            estimator="conditional",
            background=background, activation="sigmoid",
        ) as tracker:  # fmt: skip
            for step in range(4):
                tracker.record(step)
    told = [w for w in caught if issubclass(w.category, SaturationWarning)]
    assert len(told) == 2
    assert {w.filename for w in told} == {__file__}
