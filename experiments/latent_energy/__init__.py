"""Priors of a generator by maximum likelihood, NCE and N2CE: which draws the best images?"""
