"""A small language model whose output layer is trained by NCE and by two softmax losses."""
