"""Magnification on real data: energies of handwritten digits against a fitted Gaussian."""
