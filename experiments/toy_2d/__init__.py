"""Two-dimensional toys learnt by a small network: figures 4, 5, 11 and 12 of Sevekari et al., and
measures beside them.
"""
