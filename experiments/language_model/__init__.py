"""A small language model whose output layer is trained by NCE, by sampled softmax and by the full
softmax.
"""
