"""What a device does with this library, in minutes: `python -m benchmarks.device_check`.

Each part of `parts.PARTS` is a module with `run(size) -> rows.Report`; size is "full" or "small".
`runner` gives the parts to a process of their own, `worker`, one after another, and starts another
one where a part has ended it, hangs or fails.
"""
