"""Two views of an image, brought together by contrastive losses: what a linear probe makes of the
features.
"""
