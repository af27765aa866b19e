"""One-step generators distilled from a teacher of the wrong width, with and without a critic."""
