"""Experiments: one folder per topic, each with its settings, computations and figures."""
