"""One train step on one device, on eight, on two processes: the same numbers; and what more devices
save.
"""
