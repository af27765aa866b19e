"""Shared room of the experiments: command line, results on disk, figures and data sets."""
