"""Contrastive losses on two views of an image, judged by a linear classifier on the features."""
