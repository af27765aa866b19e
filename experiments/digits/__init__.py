"""Magnification on real input: an energy of handwritten digits, trained against a fitted
Gaussian.
"""
