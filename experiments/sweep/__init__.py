"""Sweeps of trainings from three experiments over any grid: stored, resumable and drawn."""
