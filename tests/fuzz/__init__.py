"""Fuzzers that stay: seeded, bounded, each with a corpus of the smallest inputs that ever failed.

``python -m fuzz`` (in ``tests``) runs one by hand; the tests run a few seconds of each.
"""
