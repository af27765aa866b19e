"""Two unit Gaussians 16 apart: an automatic chain of log ratios, where a single one fails."""
