"""Benchmarks: one harness, one file per topic. `python -m benchmarks.run` writes results.json and
docs/benchmarks.md.
"""
