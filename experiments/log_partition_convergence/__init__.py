"""How fast the normalizer is found when nothing else is learnt: figures 1 and 7 of Sevekari et al.
(2024).
"""
