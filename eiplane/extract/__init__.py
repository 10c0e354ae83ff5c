"""From what a user has (arrays, modules, files) to a :class:`eiplane.layer.Network`."""
