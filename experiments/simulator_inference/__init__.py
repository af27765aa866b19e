"""Ratio estimation for simulation-based inference, where the posterior is known."""
