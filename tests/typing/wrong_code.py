"""What a type checker should refuse; each line says what mypy calls it."""

import eiplane

eiplane.analyze([[1.0]], bins="8")  # type: ignore[arg-type]
eiplane.analyze([[1.0]], layer="fc1")  # type: ignore[call-arg]
print(eiplane.analyze([[1.0]]).phi)  # type: ignore[attr-defined]
print(eiplane.analyze([[1.0]])[0].phi + 1.0)  # type: ignore[operator]
