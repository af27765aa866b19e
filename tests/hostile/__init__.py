"""A campaign of random hostile problems and arguments: `make hostile`.

`problems` draws the problems, `judge` decides in extended precision whether an answer is right,
`solves` tries every solver and criterion on them, and `calls` gives every public function arguments
that it should refuse or pass through as NaN.
"""
