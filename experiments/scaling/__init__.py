"""One train step on one, eight, and two processes of devices: equal numbers, and the time saved."""
