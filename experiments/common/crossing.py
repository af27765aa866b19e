"""When a curve of training first reaches a goal."""

import numpy as np


def first_reached(updates: np.ndarray, curve: np.ndarray, goal: float) -> float:
    """The update at which a curve, (checkpoint,), falls to the goal; infinite if it never does.

    Between two checkpoints the curve is a straight line. One that begins at or below the goal has
    reached it at the first checkpoint.
    """
    if not np.any(is_there := curve <= goal):
        return np.inf
    number = int(np.argmax(is_there))
    if number == 0:
        return float(updates[0])
    before, after = curve[number - 1], curve[number]
    place = (before - goal) / (before - after)
    return float(updates[number - 1] + place * (updates[number] - updates[number - 1]))
