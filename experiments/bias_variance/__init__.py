"""Bias and variance of magnified NCE, and the best M: the rule M <= C sqrt(n) of the N2CE paper."""
