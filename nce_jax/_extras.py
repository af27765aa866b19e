"""The error of a package that is not installed: what can be typed where the user is."""

from pathlib import Path


def missing_extra(sentence: str, extra: str) -> ImportError:
    """The error for a package that an extra holds, to be raised from the import's own.

    Args:
      sentence: who needs which package, such as "nce_jax.plots needs matplotlib".
      extra: the extra of nce_jax that holds it.
    """
    return ImportError(f"{sentence}: {install_command(extra)}")


def install_command(extra: str, package: Path = Path(__file__).parent) -> str:
    """The command that adds an extra to the nce_jax in `package`.

    In a checkout it names the folder, whatever the working directory, and leaves the code where it
    is; an index need not know the version at hand. An installed wheel is known by its name.
    """
    root = package.resolve().parent
    if (root / "pyproject.toml").is_file():
        return f"pip install -e '{root}[{extra}]'"
    return f"pip install 'nce_jax[{extra}]'"
