"""Formulas as MathML, which every browser shows by itself: no script, no fonts, no network."""

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml


def _inline(writer, node):
    writer.body.append(f'<span class="math">{tex2mathml(node.astext())}</span>')
    raise nodes.SkipNode


def _display(writer, node):
    tex = node.astext().strip()
    writer.body.append(f'<div class="math">{tex2mathml(tex, as_block=True)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    """Register the renderer that ``html_math_renderer`` names."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
