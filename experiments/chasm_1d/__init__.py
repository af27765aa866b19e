"""Two unit Gaussians 16 apart, where a single log ratio fails: a chain of them, its schedule found
by itself.
"""
