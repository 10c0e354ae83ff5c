"""Fails the build where a public name has no entry in the API pages."""

import importlib

from sphinx.util import logging

#: What a user may import: every name in these modules' ``__all__``.
PUBLIC = (
    "eiplane",
    "eiplane.plot",
    "eiplane.callbacks",
    "eiplane.report",
    "eiplane.reproduce",
)


def missing(known):
    """Return the public names that are not among those documented."""
    names = []
    for module in PUBLIC:
        for name in importlib.import_module(module).__all__:
            if not {f"{module}.{name}"} & known:
                names.append(f"{module}.{name}")
    return names


def _check(app, env):
    known = {name for name, *_ in env.get_domain("py").get_objects()}
    for name in missing(known):
        logging.getLogger(__name__).warning("the API pages lack %s", name, type="api")


def setup(app):
    """Look through the API once all pages are read."""
    app.connect("env-check-consistency", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
