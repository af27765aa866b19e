"""BAR where the answer is known: harmonic oscillators, and published work values of benzene."""
