"""BAR where the answer is known: harmonic oscillators, and published alchemical work values of
benzene.
"""
