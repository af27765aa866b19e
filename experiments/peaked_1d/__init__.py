"""A narrow Gaussian in wide noise: one log ratio, the published chain of four, and one whose
schedule finds itself.
"""
