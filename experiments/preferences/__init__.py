"""Policies aligned with rewards by contrastive losses: what M and a partition term buy them."""
