"""Commands about training: demo, plot, reproduce."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .drawing import add_plane_options
from .outputs import check_output, check_picture
from .screen import print_result
from .values import read_names

__all__ = ["add_training_commands"]

_MOVING = (".gif", ".mp4")
_PLOTS = """examples:
  eiplane plot run.jsonl plane.png
  eiplane plot run.jsonl history.pdf --kind history --quantities sensitivity,ei_parts
  eiplane plot before.jsonl after.jsonl compared.png
  eiplane plot run.jsonl plane.gif
"""


def add_training_commands(commands: Any) -> None:
    """Add the commands to a parser's subparsers.

    Parameters
    ----------
    commands : argparse's subparsers
        Each gets a ``handler`` that takes the parsed options.
    """
    _add_demo(commands)
    _add_plot(commands)
    _add_reproduce(commands)


def _add_demo(commands: Any) -> None:
    about = "ecompose a network trained on Iris, and draw its way through training"
    parser = commands.add_parser(
        "demo", help=f"d{about}", description=f"D{about}: as text, if matplotlib is missing."
    )
    parser.add_argument(
        "--out", default="causal_plane.png", metavar="OUT.png", help="default: causal_plane.png"
    )
    parser.add_argument("--text", action="store_true", help="draw with characters, write no file")
    parser.set_defaults(handler=_demo)


def _demo(options: argparse.Namespace) -> None:
    from ..plot import save_figure, text_plane, trajectory
    from .demo import demo_history, iris_snapshots

    text = options.text or find_spec("matplotlib") is None
    check_picture(None if text else options.out)
    snapshots = iris_snapshots()
    network, run = demo_history(snapshots)
    accuracy = float(snapshots["test_accuracy"][-1])
    epochs = int(snapshots["epochs"][-1])
    print(
        f"A 4-5-5-3 sigmoid network after {epochs:,} epochs on Fisher's Iris "
        f"({accuracy:.0%} of the test flowers right), in bits:\n"
    )
    print_result(network)
    title = "Layers of a network learning Iris, in the causal plane"
    if text:
        print(f"\n{title}\n\n{text_plane(run)}")
        if not options.text:
            print('\nFor a picture: pip install "eiplane[plot]", and again: eiplane demo')
        return
    ax = trajectory(run)
    ax.set_title(title, fontsize=11, pad=10)
    place = save_figure(ax, options.out)
    print(f"\n{place}: the path of each layer through training")


def _add_plot(commands: Any) -> None:
    parser = commands.add_parser(
        "plot",
        help="draw a tracked run",
        description="Draw a tracked run: its way through the causal plane, quantities over time, a "
        "moving\npicture. Several runs are compared in one plane.",
        epilog=_PLOTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("run", metavar="RUN.jsonl", nargs="+", help="several are compared")
    add("out", metavar="OUT.png", help=".png, .pdf, .svg; of one run also .gif, .mp4")
    add("--kind", choices=("plane", "history", "phi", "layers", "edges"), default="plane",
        help="history: quantities over time; layers: the last moment's, against their depth; "
        "edges: a moving picture, of a run tracked with edges=True (default: plane)")  # fmt: skip
    add("--quantities", type=read_names, metavar="NAME,...", help="of --kind history and layers")
    add_plane_options(add)
    add("--plain", action="store_true", help="degeneracy and sensitivity, not turned by 45 degrees")
    add("--ei", choices=("parts", "joint"), default="parts", help="which EI splits the sensitivity")
    parser.set_defaults(handler=_plot)


def _plot(options: argparse.Namespace) -> None:
    from .. import plot
    from ..training import History

    if Path(options.out).suffix.lower() in _MOVING:
        check_output(options.out)
    else:
        check_picture(options.out)
    runs = [History.read(run) for run in options.run]
    moving = Path(options.out).suffix.lower() in _MOVING
    if len(runs) > 1 and (moving or options.kind != "plane"):
        raise ValueError("several runs can only be compared in one causal plane, not moving")
    sizes = {"normalize": options.normalize, "scale": options.scale}
    plane = {"rotated": not options.plain, "ei": options.ei, **sizes}
    if options.kind == "edges":
        plot.animate_edges(options.run[0], options.out)
        return
    if moving:
        plot.animate(runs[0], options.out, **plane)
        return
    drawn: Any
    if len(runs) > 1:
        drawn = plot.compare(runs, **plane)
    elif options.kind == "history":
        drawn = plot.history(runs[0], quantities=options.quantities)
    elif options.kind == "layers":
        drawn = plot.layers(runs[0], quantities=options.quantities, **sizes)
    elif options.kind == "phi":
        drawn = plot.phi(runs[0])
    else:
        drawn = plot.trajectory(runs[0], **plane)
    plot.save_figure(drawn, options.out)


def _add_reproduce(commands: Any) -> None:
    from ..reproduce import ABOUT, EXPERIMENTS

    listed = "\n".join(f"  {name:13} {ABOUT[name]}" for name in EXPERIMENTS)
    parser = commands.add_parser(
        "reproduce",
        help="repeat an experiment of the paper, or test a claim",
        description="Repeat an experiment of the paper, or test a claim: data, figures and "
        "summary.md\nin a folder. What was interrupted continues.",
        epilog=f"experiments and claims:\n{listed}\n\nexamples:\n  eiplane reproduce iris --quick\n"
        "  eiplane reproduce pace --data mnist",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("name", choices=sorted(EXPERIMENTS), metavar="NAME", help="one of those below")
    add("--quick", action="store_true", help="a small version, to see it work")
    add("--out", metavar="DIR", help="default: reproduce-NAME")
    add("--data", metavar="DIR", help="folder of MNIST's IDX files, or of MiniLM's weights")
    parser.set_defaults(handler=_reproduce)


def _reproduce(options: argparse.Namespace) -> None:
    from ..reproduce import reproduce

    out = options.out or f"reproduce-{options.name}"
    print(reproduce(options.name, out, quick=options.quick, data=options.data))
