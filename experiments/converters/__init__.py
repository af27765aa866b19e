"""Scripts that a user runs where PyTorch is installed: published checkpoints to npz files."""
