"""Compares an automatically chosen M with the best M of a grid, chosen in hindsight."""
