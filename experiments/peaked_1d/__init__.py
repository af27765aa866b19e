"""A narrow Gaussian in wide noise: one log ratio, the published chain of four, an automatic one."""
