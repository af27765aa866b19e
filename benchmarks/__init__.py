"""Benchmarks: one harness, one file per topic; `python -m benchmarks.run` runs them.

It writes results.json and docs/benchmarks.md.
"""
