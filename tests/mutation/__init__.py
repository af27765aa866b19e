"""Deliberate faults, put into a copy of the library one at a time, that a test has to notice.

`make mutate` says which of them survive. `faults` lists them; `tests/mutation/test_faults.py`
checks that each still fits the source.
"""
