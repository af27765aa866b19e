"""How fast F converges when nothing else is learned: figures 1 and 7 of Sevekari et al. (2024)."""
