"""Sixteen-dimensional Gaussians of the same mean, the data wider than the noise: figure 3 of
Sevekari et al.
"""
