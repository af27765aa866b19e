"""One-dimensional Gaussians at three separations: figures of Sevekari et al., and magnification."""
