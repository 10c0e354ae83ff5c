"""What extraction found, by the names of layers."""

from eiplane.analyze import Plan
from eiplane.run import Settings


def layers(found):
    return {layer.name: layer for layer in found.network}


def ranges(found, in_range=(0.0, 1.0), **chosen):
    plan = Plan(found.network, Settings("ei", in_range=in_range, **chosen))
    return {n: (*plan.in_range(i), plan.range_source(i)) for i, n in enumerate(found.network.names)}
