"""Experiments on nce_jax: one folder per question, each with its claim, its setting and its
numbers.
"""
