"""Published networks, as functions of the arrays that `experiments/converters` writes."""
