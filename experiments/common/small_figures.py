"""Makes the small pictures of the page on results from the figures that `make figures` has drawn.

`make small-figures` writes `docs/images/results/<topic>/<figure>.png`, each below 100 kB, so that
a build of the documentation shows them without running an experiment.
"""

from pathlib import Path

import tyro
from PIL import Image

from experiments.common.endings import CommandError, one_line

WIDTHS = (800, 640, 480)
LARGEST = 100_000


def shrink(source: Path, target: Path) -> int:
    """Writes a copy of at most `LARGEST` bytes, as wide as fits, and returns its size in bytes."""
    picture = Image.open(source).convert("RGB")
    for width in WIDTHS:
        height = round(picture.height * width / picture.width)
        small = picture.resize((width, height), Image.Resampling.LANCZOS)
        small.quantize(64, dither=Image.Dither.NONE).save(target, optimize=True)
        if target.stat().st_size <= LARGEST:
            return target.stat().st_size
    target.unlink()
    raise CommandError(f"{source}: expected a figure that fits {LARGEST} bytes when 480 wide")


def main(figures: Path = Path("build/figures"), output: Path = Path("docs/images/results")) -> None:
    """Shrink every figure that the lists of topics name.

    Args:
        figures: the folder that `make figures` has drawn into.
        output: where the small pictures go, in one folder per topic.
    """
    lists = sorted(figures.glob("*.list"))
    if not lists:
        raise CommandError(f"figures: expected the lists that make figures writes, got {figures}")
    for path in lists:
        folder = output / path.stem
        folder.mkdir(parents=True, exist_ok=True)
        for line in path.read_text().splitlines():
            if line.endswith(".png"):
                target = folder / Path(line).name
                print(f"{target}: {shrink(Path(line), target) / 1000:.0f} kB")


if __name__ == "__main__":
    with one_line():
        tyro.cli(main)
