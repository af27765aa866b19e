"""Sums over all pairs of two sets of embeddings, on which the contrastive losses are built.

- `embeddings`, `negatives`: checked batches of embeddings, and of negatives of their own;
- `sums`: the sums over pairs, in blocks, with their derivatives;
- `sharded`: the same sums with the embeddings split over the devices of a mesh.
"""
