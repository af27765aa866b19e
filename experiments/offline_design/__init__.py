"""Offline design: designs better than all that were measured, from log ratios and regression."""
