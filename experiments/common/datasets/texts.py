"""Published texts, as files that are read and verified."""

from experiments.common.published import PublishedFile

SHAKESPEARE = PublishedFile(
    "tinyshakespeare",
    "input.txt",
    1_115_394,
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",),
)
"""Forty thousand lines of Shakespeare, 65 different characters."""
