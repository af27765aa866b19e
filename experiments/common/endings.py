"""How a command ends: with a result, or with one line on stderr and an exit status.

The status is 2 where the command cannot be carried out as given (arguments, files, folders), 1
where the computation fails or nothing in its result is finite, and 130 after an interruption.
"""

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import NoReturn

VARIABLE = "NCE_JAX_TRACEBACK"
"""Environment variable that, when set, lets unexpected errors through with their traceback."""


class CommandError(Exception):
    """A command cannot be carried out as it was given; the text says why and what to do."""


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Ends the process with one line on stderr, whatever is raised in the block."""
    try:
        yield
    except (CommandError, OSError) as error:
        end(str(error), 2)
    except MemoryError as error:
        end(f"not enough memory ({str(error) or 'no details'}); choose smaller settings", 1)
    except KeyboardInterrupt:
        end("interrupted; the same command continues from what is stored, if it stores pieces", 130)
    except Exception as error:
        if os.environ.get(VARIABLE):
            raise
        place = traceback.extract_tb(error.__traceback__)[-1]
        end(
            f"{type(error).__name__}: {error} ({place.filename}:{place.lineno});"
            f" {VARIABLE}=1 shows the traceback",
            1,
        )


def end(text: str, status: int) -> NoReturn:
    """Prints the text as a single line on stderr and exits with the status."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    print(f"error: {' | '.join(lines)}", file=sys.stderr, flush=True)
    sys.exit(status)
