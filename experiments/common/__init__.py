"""What all experiments share: command line, results on disk, plotting, the check of headline
numbers.
"""
