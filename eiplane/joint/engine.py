"""The joint engine: EI of whole layers, ``EI = I(X; Y) = H(Y) - H(Y | X)``.

X and Y are the vectors of binned inputs and outputs. A target is taken apart (:mod:`.plan`), every
piece is sampled by the estimator that suits it (:mod:`.rounds`, :mod:`.choice`), and the pieces'
results are put together (:mod:`.assemble`).
"""

from __future__ import annotations

from ..network import Channel
from ..results import Joint, Pairwise
from ..run import Purpose, Runner, Sampling
from .assemble import assemble
from .options import JointOptions
from .plan import make_plan
from .rounds import run_pieces
from .saturation import warn_saturated
from .task import Target

__all__ = ["joint", "measure"]


def joint(
    channel: Channel,
    sampling: Sampling,
    options: JointOptions,
    runner: Runner,
    parts: Pairwise | None = None,
) -> Joint:
    """Measure the whole vectors of a layer; :func:`measure` of all inputs and outputs.

    Warns
    -----
    SaturationWarning
        If the samples are too few for the entropies.

    Raises
    ------
    MemoryError
        If the distinct vectors would take more than ``options.memory``.
    """
    key = sampling.key(Purpose.JOINT)
    result = measure(Target.whole(channel), key, sampling, options, runner, parts)
    warn_saturated(repr(channel.name), result, channel.drops)
    return result


def measure(
    target: Target,
    key: int,
    sampling: Sampling,
    options: JointOptions,
    runner: Runner,
    parts: Pairwise | None = None,
) -> Joint:
    """Measure the information between some inputs and some outputs.

    Parameters
    ----------
    target : Target
    key : int
        Of the random numbers.
    sampling : Sampling
        Only ``samples`` and ``tol`` are used.
    options : JointOptions
    runner : Runner
    parts : Pairwise, optional
        ``I(x_A; y_B)`` of every edge of the channel, for the bounds.

    Returns
    -------
    Joint
        Influences, where asked for, are 0 for nodes that do not count.
    """
    plan = make_plan(target, key, options, runner, parts)
    estimators = run_pieces(plan, target.channel, sampling)
    found = [estimator.result() for estimator in estimators]
    return assemble(target, plan, found, sampling, options)
