"""Which noise to contrast with: six of them at one budget, in two dimensions and on digits."""
