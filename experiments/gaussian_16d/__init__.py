"""16-dimensional Gaussians, the data wider than the noise: figure 3 of Sevekari et al."""
