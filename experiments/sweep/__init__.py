"""One command for any grid: trainings of three experiments over axes, treatments and seeds, stored,
resumed and drawn.
"""
