"""How the documentation is built: ``sh docs/build`` from a clone, or see CONTRIBUTING.md.

Nothing is fetched while it builds, and nothing when its pages are read: formulas are MathML, made
by docutils, and there is no other site's script, font or inventory in them.
"""

import os
import sys
from pathlib import Path

import matplotlib

import eiplane

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_ext"))

# Pages run their code in processes of their own, which must find the same eiplane.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(eiplane.__file__).parents[1]), *sys.path]
)
os.environ.setdefault("EIPLANE_THREADS", "2")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # threads that spin are slow on a busy machine
os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"
matplotlib.use("agg")

project = "eiplane"
author = "the eiplane developers"
copyright = "the eiplane developers, MIT licence"
release = version = eiplane.__version__

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_gallery.gen_gallery",
    "mathml",
    "public_names",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "examples", "sg_execution_times.rst", "gallery/*.ipynb"]
nitpicky = True
# Types of other libraries: their inventories would have to be fetched.
nitpick_ignore_regex = [
    (
        r"py:.*",
        r"(numpy|np|numpy\.typing|npt|matplotlib|pandas|xarray|torch|concurrent)\..*",
    ),
    (
        r"py:.*",
        r"(collections\.abc|typing|os|pathlib|keras|lightning|transformers)(\..*)?",
    ),
]

html_theme = "furo"
html_title = f"eiplane {release}"
html_static_path = ["_static"]
html_css_files = ["eiplane.css"]
html_show_sourcelink = False
html_copy_source = False
html_domain_indices = False  # one module is no index
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6a88",
        "color-brand-content": "#0b6a88",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6cc3e0",
        "color-brand-content": "#6cc3e0",
    },
}
pygments_style = "tango"
math_number_all = False
html_math_renderer = "mathml"

myst_enable_extensions = ["amsmath", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_execution_show_tb = True
nb_merge_streams = True
nb_render_markdown_format = "myst"  # tables, in what code writes

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc has them, in words
autodoc_member_order = "bysource"
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": ["examples"],
    "gallery_dirs": ["gallery"],
    "filename_pattern": r"/\w+\.py$",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "min_reported_time": 1e9,
    "write_computation_times": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "show_signature": False,
    "capture_repr": ("_repr_html_",),  # what Axes print of themselves is no result
    "reset_modules": ("matplotlib",),
    "matplotlib_animations": False,
    "image_scrapers": ("matplotlib",),
}
suppress_warnings = [
    "config.cache"
]  # sphinx-gallery's settings hold what cannot be pickled
