"""Samplers of digits that learn from a critic, or from a teacher's score and a critic."""
