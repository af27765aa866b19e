"""How many steps magnified NCE needs on exponential families: the convergence theorem of the N2CE
paper.
"""
