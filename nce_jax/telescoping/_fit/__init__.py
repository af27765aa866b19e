"""The parts of `fit_telescope`: samples, model, search for a schedule, training, and what the
result is worth.
"""
