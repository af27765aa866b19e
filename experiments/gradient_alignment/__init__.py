"""How close the gradient and the path of magnified NCE come to maximum likelihood: figure 1 of the
N2CE paper.
"""
