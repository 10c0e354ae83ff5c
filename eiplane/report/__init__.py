"""One self-contained page about a model or a run, or several side by side."""

from .page import html_report, write_report

__all__ = ["html_report", "write_report"]
