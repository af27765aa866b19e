"""Data sets read from their published formats, one module per set; docs/data.md has the table.

Nothing is unpickled and nothing is unpacked to the disk. A file, an archive or a member of one that
is not what it claims is refused by name.
"""
