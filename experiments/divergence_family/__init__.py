"""What the NCE loss measures: D_kappa, from Jensen-Shannon to Kullback-Leibler divergence."""
