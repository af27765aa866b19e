"""How close gradients and paths of magnified NCE are to maximum likelihood: N2CE's figure 1."""
