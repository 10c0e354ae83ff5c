"""Threads, processes and clusters: the same numbers everywhere, and what happens when they die."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pytest

import eiplane
from eiplane import _core
from eiplane.pairwise import sampled as pairwise
from eiplane.run import Helpers, Runner, parallel, together
from eiplane.run.parallel import WorkerLostWarning

SPAWN = multiprocessing.get_context("spawn")

#: Of networks whose layers are cut every way: by samples, by outputs, by inputs; masks and tables.
NETWORKS = {
    "masks": ([(20, 30), (9, 20)], {"bins": 8, "samples": 30_000}),
    "wide": ([(40, 600)], {"bins": 8, "samples": 9_000, "outliers": "drop", "out_range": (-1, 1)}),
    "tables": ([(17, 40)], {"bins": 64, "samples": 20_000}),
    "baseline": ([(12, 16)], {"bins": (5, 7), "samples": 9_000, "baseline": 0.25}),
    "spans": ([(6, 5), (4, 6)], {"bins": 8, "samples": 9_000, "spans": [(0, 1)]}),
}


def weights_of(shapes):
    generator = np.random.default_rng(5)
    return [generator.normal(size=shape) / shape[1] ** 0.5 for shape in shapes]


def same(a, b):
    pairs = list(zip(numbers(a), numbers(b), strict=True))
    assert pairs
    for x, y in pairs:
        assert np.array_equal(x, y)


def numbers(decomposition):
    """Everything that a decomposition holds, as arrays."""

    def walk(value):
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            for field in dataclasses.fields(value):
                yield from walk(getattr(value, field.name))
        elif isinstance(value, (list, tuple)):
            for item in value:
                yield from walk(item)
        elif value is not None:
            yield np.asarray(value)

    return list(walk(list(decomposition)))


def analyse(name, method="sample", **options):
    shapes, settings = NETWORKS[name]
    settings = settings | {"method": method, "measures": "degeneracy"} | options
    if method != "sample":
        settings.pop("samples")
    return eiplane.analyze(weights_of(shapes), "tanh", **settings)


@pytest.fixture
def cut_fine(monkeypatch):
    """Make units of the least work."""
    monkeypatch.setattr(parallel, "SHORTEST_HERE", 0)
    monkeypatch.setattr(parallel, "SHORTEST_AWAY", 0)
    monkeypatch.setattr(pairwise, "_FEWEST", 1)


@pytest.fixture(scope="module")
def processes():
    with ProcessPoolExecutor(3, mp_context=SPAWN) as pool:
        yield pool


@pytest.mark.parametrize("method", ["sample", "auto"])
@pytest.mark.parametrize("name", NETWORKS)
def test_processes_give_the_same(processes, cut_fine, name, method):
    same(analyse(name, method, threads=1), analyse(name, method, executor=processes))


def test_processes_give_the_same_sums_of_several_small_layers(processes):
    weights = weights_of([(20, 30), (9, 20)])
    options = {"measures": ("ei_parts", "sensitivity"), "edges": False}
    away = eiplane.analyze(weights, "tanh", executor=processes, **options)
    for threads in (1, 3):
        same(eiplane.analyze(weights, "tanh", threads=threads, **options), away)


@pytest.mark.filterwarnings("ignore:.*samples are too few")
@pytest.mark.parametrize("estimator", ["conditional", "plugin"])
def test_processes_give_the_same_ei(processes, estimator):
    options = {"measures": "ei", "estimator": estimator, "samples": 70_000, "bins": 3}
    weights = weights_of([(7, 9), (4, 7)])
    one, away = (
        eiplane.analyze(weights, "tanh", threads=1, **options),
        eiplane.analyze(weights, "tanh", executor=processes, **options),
    )
    same(one, away)


def plainest():
    _core.select(_core.supported()[0])


def test_machines_of_several_kinds_give_the_same(cut_fine):
    with ProcessPoolExecutor(2, mp_context=SPAWN, initializer=plainest) as pool:
        for name in ("masks", "wide", "tables"):
            same(analyse(name, threads=1), analyse(name, executor=pool))


class Weighing(ThreadPoolExecutor):
    """Threads that everything reaches through pickle, as another process would."""

    def __init__(self):
        super().__init__(3)
        self.sent, self.returned = [], []

    def submit(self, function, *arguments):
        parcel = pickle.dumps((function, *arguments))
        self.sent.append(len(parcel))
        return super().submit(self._unpack, parcel)

    def _unpack(self, parcel):
        function, *arguments = pickle.loads(parcel)
        result = function(*arguments)
        self.returned.append(len(pickle.dumps(result)))
        return result


@pytest.mark.parametrize("measure", ["ei_parts", "sensitivity"])
@pytest.mark.parametrize("method", ["sample", "exact"])
def test_units_carry_no_more_than_they_need(cut_fine, method, measure):
    shape = (200, 300)
    options = {"method": method, "measures": measure, "bins": 8}
    options |= {"samples": 500} if method == "sample" else {}
    weights = weights_of([shape])
    with Weighing() as pool:
        away = eiplane.analyze(weights, executor=pool, **options)
    same(eiplane.analyze(weights, threads=1, **options), away)
    units, edges = len(pool.sent), shape[0] * shape[1]
    assert units >= 2 * 3
    own = 3_000 + 8 * shape[0]  # names, thresholds, biases
    assert sum(pool.sent) <= 8 * edges + units * own
    arrays = {"exact": 8, "sample": 36}[method]
    assert sum(pool.returned) <= arrays * edges + units * (8_000 + 8 * shape[0])


def test_few_are_out_at_a_time(cut_fine):
    """A large layer does not travel all at once."""

    class Watched(ThreadPoolExecutor):
        out = most = 0

        def submit(self, *call):
            Watched.out += 1
            Watched.most = max(Watched.most, Watched.out)
            future = super().submit(*call)
            future.add_done_callback(self.note)
            return future

        def note(self, _):
            Watched.out -= 1

    with Watched(2) as pool, Runner(executor=pool) as runner:
        assert runner.map(abs, range(0, -500, -1)) == list(range(500))
    assert Watched.most <= 2 * 2 * 3


@dataclass(frozen=True)
class Spot:
    """A unit that knows where it is."""

    number: int
    folder: str = ""

    @property
    def where(self):
        return f"outputs {self.number}..{self.number}"


def fail_at_three(spot):
    if spot.folder:
        with open(os.path.join(spot.folder, str(spot.number)), "a") as file:
            file.write("x")
    if spot.number == 3:
        raise ValueError("no such thing")
    return spot.number


@pytest.mark.parametrize("where", ["here", "short", "threads", "processes"])
def test_an_error_names_the_unit_and_is_not_tried_again(where, processes, tmp_path):
    units = [Spot(i, str(tmp_path)) for i in range(6)]
    with Runner(2, processes if where == "processes" else None) as runner:
        named = pytest.raises(ValueError, match=r"^fc1: EI_parts, outputs 3\.\.3: no such thing$")
        with named:
            runner.map(fail_at_three, units, "fc1: EI_parts", where == "short", where == "here")
    assert (tmp_path / "3").read_text() == "x"


def test_an_error_whose_message_is_not_its_own_gets_a_note():
    def fail(_):
        raise FileNotFoundError(2, "gone", "x.npz")

    with Runner(1) as runner, pytest.raises(FileNotFoundError) as caught:
        runner.map(fail, [0], "fc1")
    assert caught.value.__notes__ == ["fc1, unit 1 of 1"]


class KilledWorker(Exception):  # noqa: N818
    """What Dask calls it, here without Dask."""


class Losing(ThreadPoolExecutor):
    """An executor that loses the worker of every third unit, so often."""

    def __init__(self, times):
        super().__init__(2)
        self.times, self.calls = times, 0

    def submit(self, function, task, unit, token, lost):
        self.calls += 1
        if unit.number % 3 == 0 and lost < self.times:
            future = Future()
            if unit.number == 0:
                future.cancel()
                future.set_running_or_notify_cancel()
            else:
                future.set_exception(KilledWorker("task"))
            return future
        return super().submit(function, task, unit, token, lost)


def number_of(spot):
    return spot.number


def test_a_lost_unit_goes_to_another_worker():
    with Losing(parallel.RETRIES) as pool, Runner(executor=pool) as runner:
        assert runner.map(number_of, [Spot(i) for i in range(7)]) == list(range(7))
        assert pool.calls == 7 + 3 * parallel.RETRIES


def test_a_unit_that_every_worker_dies_of_is_given_up():
    with (
        Losing(99) as pool,
        Runner(executor=pool) as runner,
        pytest.raises(RuntimeError, match=r"^fc1, outputs 0\.\.0: its worker was lost 4 times$"),
    ):
        runner.map(number_of, [Spot(i) for i in range(3)], "fc1")


def test_a_broken_pool_is_finished_here(cut_fine):
    """Processes of a pool are killed once the first unit is done."""
    with ProcessPoolExecutor(2, mp_context=SPAWN) as pool:
        killed = []

        def kill(done, total, what):
            if not killed:
                killed.extend(pool._processes)
                os.kill(killed[0], signal.SIGKILL)

        with pytest.warns(WorkerLostWarning, match="the rest of the work is done here") as caught:
            away = analyse("wide", executor=pool, progress=kill)
        assert len(caught) == 1
    assert killed
    same(analyse("wide", threads=1), away)


def test_a_pool_that_was_shut_down_before_is_refused():
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        eiplane.analyze(np.eye(3), executor=pool)


@pytest.mark.slow
def test_a_dask_cluster_that_loses_a_worker(cut_fine):
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")

    class Watched:
        """The client's executor, and how often units were given to it again."""

        def __init__(self, client):
            self.client, self.again = client, 0
            self.executor = client.get_executor()
            self._client = client

        def submit(self, function, task, unit, token, lost):
            self.again += lost > 0
            return self.executor.submit(function, task, unit, token, lost)

    settings = {
        "distributed.scheduler.allowed-failures": 0,  # leave it to the engine
        "distributed.worker.daemon": True,
    }
    options = {"samples": 60_000}
    with (
        dask.config.set(settings),
        distributed.LocalCluster(
            3, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        same(analyse("masks", threads=1), analyse("masks", executor=client.get_executor()))
        pids = client.run(os.getpid)
        killed = []

        def kill(done, total, what):
            if not killed:
                busy = [w for w, keys in client.processing().items() if keys]
                killed.append(pids[busy[0]] if busy else next(iter(pids.values())))
                os.kill(killed[0], signal.SIGKILL)

        executor = Watched(client)
        with warnings.catch_warnings():
            warnings.simplefilter("error", WorkerLostWarning)
            away = analyse("wide", executor=executor, progress=kill, **options)
        assert killed and executor.again
    same(analyse("wide", threads=1, **options), away)


def test_one_pool_an_analysis(cut_fine, monkeypatch):
    made = []

    class Counted(ThreadPoolExecutor):
        def __init__(self, *arguments, **options):
            made.append(self)
            super().__init__(*arguments, **options)

    monkeypatch.setattr(together, "ThreadPoolExecutor", Counted)
    before = set(threading.enumerate())
    options = {"method": "sample", "measures": "degeneracy", "samples": 9_000}
    eiplane.analyze(weights_of([(30, 40), (20, 30)]), threads=3, **options)
    assert len(made) == 1
    assert set(threading.enumerate()) <= before


def test_small_work_starts_no_thread(monkeypatch):
    monkeypatch.setattr(together, "ThreadPoolExecutor", None)
    eiplane.analyze(weights_of([(4, 5)]), samples=200, measures="degeneracy", method="sample")
    eiplane.analyze(weights_of([(4, 5)]), measures="degeneracy")


def test_an_error_stops_its_own_analysis_and_no_other():
    started, go_on = threading.Event(), threading.Event()

    def poll(unit):
        flag = parallel.cancel_flag()
        started.set()
        go_on.wait(10)
        return int(flag[0])

    def fail(unit):
        raise ValueError("no")

    def stopped(unit):
        if unit:
            raise ValueError("no")
        flag = parallel.cancel_flag()
        for _ in range(1000):
            if flag[0]:
                seen.append(True)
                return
            time.sleep(0.01)

    seen = []
    with ThreadPoolExecutor(1) as thread, Runner(1) as runner:
        other = thread.submit(runner.map, poll, [0])
        started.wait(10)
        with Runner(2) as failing, pytest.raises(ValueError, match="no"):
            failing.map(stopped, [0, 1])
        go_on.set()
        assert other.result() == [0]
    assert seen == [True]


def fails_at_once(unit):
    if unit == 0:
        raise ValueError("cannot")
    return int(parallel.cancel_flag()[0])


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_work_after_an_error_that_was_handled_runs(threads):
    with Runner(threads) as runner:
        for _ in range(2):
            with pytest.raises(ValueError, match="cannot"):
                runner.map(fails_at_once, range(8))
            assert runner.map(fails_at_once, range(1, 8)) == [0] * 7


def test_what_cannot_be_followed_is_sampled_with_several_threads():
    """Its outputs change too often for lines; the samples that are drawn then are not stopped."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(3, 3, 1)
    act = [torch.nn.ELU(0.7), torch.nn.Softshrink(0.2), torch.nn.AvgPool2d(2)]

    class Module(torch.nn.Sequential):
        def forward(self, x):
            return super().forward(x).sign()

    found = [
        eiplane.analyze(
            Module(conv, *act), measures="sensitivity", samples=20_000,
            input_size=(3, 4, 4), in_range=(0, 1), out_range=(-0.793, 0.877), threads=threads,
        )[0].sensitivity
        for threads in (1, 2)
    ]  # fmt: skip
    assert found[0] == found[1] > 0


@pytest.mark.parametrize(
    ("seconds", "threads", "pieces"), [(0.0, 4, 1), (1e-4, 4, 1), (1.0, 4, 16), (1.0, 1, 1)]
)
def test_pieces(seconds, threads, pieces):
    assert Runner(threads).pieces(seconds) == pieces


def test_a_thread_for_which_there_is_no_memory(monkeypatch):
    def fail(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with Runner(2) as runner, pytest.raises(MemoryError, match="not enough memory for a thread"):
        runner.map(abs, [1, 2, 3])


def test_pieces_are_short_enough_to_lose():
    with ThreadPoolExecutor(5) as pool:
        runner = Runner(1, pool)
        assert runner.workers == 5
        assert runner.pieces(0.03) == 2
        assert runner.pieces(2.0) == 20
        assert runner.pieces(1000.0) == 500


def _processor_seconds(process):
    """Return the processor time that a process has used, also of one that has ended."""
    with open(f"/proc/{process}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    "work",
    [
        "[g.normal(size=(500, 2000))], method='sample', samples=2**28, measures='ei_parts'",
        "[g.normal(size=(40, 500))], method='sample', samples=2**25, measures='sensitivity'",
        "[g.normal(size=(60, 70))], method='sample', samples=2**31 - 1, bins=64, "
        "measures='ei_parts'",
        "[g.normal(size=(4000, 4000))], bins=64, measures='degeneracy'",
        "[g.normal(size=(40, 50))], samples=2**28, measures='ei'",
        "[g.normal(size=(4, 5))], samples=2**28, measures='ei', estimator='plugin', bins=64",
    ],
    ids=["masks", "sensitivity", "tables", "exact", "ei", "plugin"],
)
def test_interrupt(work, threads):
    """The loops stop: judged by what the processor still does, as a busy machine takes its time."""
    code = f"""
import numpy as np, eiplane
g = np.random.default_rng(0)
arguments = dict(threads={threads})
print("ready", flush=True)
eiplane.analyze({work}, **arguments)
"""
    run = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    late = threading.Timer(60.0, run.kill)
    late.start()
    try:
        assert run.stdout.readline() == "ready\n"
        time.sleep(0.7)
        assert run.poll() is None, run.stderr.read()
        before = _processor_seconds(run.pid)
        run.send_signal(signal.SIGINT)
        errors = run.stderr.read()  # to its end: the process is over, but not yet waited for
        after = _processor_seconds(run.pid)
        assert errors.strip().endswith("KeyboardInterrupt")
        assert after - before < 2 * threads  # the work itself takes minutes
    finally:
        late.cancel()
        run.kill()
        run.communicate()


@pytest.mark.parametrize("outputs", [16, 70])
def test_what_takes_a_while_goes_to_a_thread(outputs, monkeypatch):
    """So that Ctrl-C is heard, although one thread is all there is."""
    flag, seen = pairwise.cancel_flag, set()

    def noted():
        seen.add(threading.current_thread() is threading.main_thread())
        return flag()

    monkeypatch.setattr(pairwise, "cancel_flag", noted)
    layer = eiplane.Layer(np.random.default_rng(0).normal(size=(outputs, 4)), None, "tanh")
    options = {"method": "sample", "threads": 1, "measures": "ei_parts"}
    for samples, here in ((1 << 17, False), (64, True)):
        seen.clear()
        monkeypatch.setattr(pairwise, "_SHORT", 1e9 if here else 1e-4)
        eiplane.analyze(layer, samples=samples, **options)
        assert seen == {here}


def test_more_threads_than_any_memory_is_enough_for():
    """Of those that there is no work for none is started, and none asks for memory."""
    with Runner(threads=10**8) as runner:
        assert runner.map(number_of, [Spot(i) for i in range(3)]) == [0, 1, 2]


# ---- threads that stay ---------------------------------------------------------------------------


def test_helpers_share_work_and_stay():
    with Helpers() as helpers:
        arrived = threading.Barrier(3, timeout=30)

        def meet(index):  # all three at once, or nobody gets on
            arrived.wait()
            return threading.get_ident(), index

        rounds = [helpers.run(meet, 3, 2) for _ in range(3)]
        for found in rounds:
            assert [index for _, index in found] == [0, 1, 2]
        threads = {ident for found in rounds for ident, _ in found}
        assert len(threads) == 3  # the same ones each time
        assert threading.get_ident() in threads
        assert helpers.run(lambda index: index, 1, 4) == [0]
        alive = [t for t in threading.enumerate() if t.ident in threads]
        assert len(alive) == 3
    assert not any(t.is_alive() for t in alive if t.ident != threading.get_ident())
    helpers.close()


@pytest.mark.parametrize("kind", [ValueError, IndexError, KeyboardInterrupt])
@pytest.mark.parametrize("here", [True, False])
def test_what_a_helped_unit_raises(kind, here):
    """Whichever thread it is in: it is raised, the rest is left, and work goes on afterwards."""
    me, arrived, done = threading.get_ident(), threading.Barrier(2, timeout=30), []

    def fail(index):
        if index < 2:
            arrived.wait()
        if (threading.get_ident() == me) == here and index < 2:
            raise kind("at fault")
        done.append(index)

    with Helpers() as helpers:
        with pytest.raises(kind, match="at fault"):
            helpers.run(fail, 100_000, 1)
        assert len(done) < 100_000
        assert helpers.run(lambda index: index, 3, 1) == [0, 1, 2]


def test_an_error_of_a_helped_unit_says_where():
    with Helpers() as helpers, Runner(threads=2, helpers=helpers) as runner:
        with pytest.raises(ValueError, match="fc1, unit 2 of 3: no"):
            runner.map(lambda unit: unit or _no(), [1, 0, 1], "fc1", short=True)
        assert runner.map(abs, [-1, -2], short=True) == [1, 2]


def _no():
    raise ValueError("no")


@pytest.mark.parametrize("there", [0, 1])
def test_work_goes_on_where_no_thread_can_be_started(monkeypatch, there):
    start, started = threading.Thread.start, []

    def refuse(thread):
        if len(started) >= there:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    with Helpers() as helpers:
        for _ in range(2):
            started.clear()
            with monkeypatch.context() as patched:
                patched.setattr(threading.Thread, "start", refuse)
                assert helpers.run(lambda index: -index, 40, 3) == [-i for i in range(40)]
            assert not any(thread.is_alive() for thread in started)
        assert helpers.run(abs, 4, 2) == [0, 1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_helpers_that_stayed_behind_a_fork_are_replaced():
    with Helpers() as helpers:
        assert helpers.run(abs, 3, 1) == [0, 1, 2]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:  # a thread that is not there would leave it waiting
            right = helpers.run(abs, 4, 1) == [0, 1, 2, 3]
            os._exit(0 if right else 1)
        assert os.waitpid(child, 0)[1] == 0
