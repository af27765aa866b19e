"""Bias and variance of the magnified gradient, the U-curve in M, and how the best M grows with n:
Yu et al.
"""
