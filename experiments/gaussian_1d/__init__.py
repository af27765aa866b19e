"""One-dimensional Gaussians at three separations: figures 2, 8, 9 and 10 of Sevekari et al., and
what magnification adds.
"""
