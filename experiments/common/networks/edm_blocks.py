"""Blocks and arrays of the denoisers of EDM, with the names of its checkpoints; see `edm_unet`."""

from typing import NamedTuple

from experiments.common.networks import shapes as shapes_of
from experiments.common.networks.shapes import Shapes


class Settings(NamedTuple):
    """Sizes of a network. Images have as many channels in as out.

    Attributes:
      kind: "ddpm++" or "adm".
      side: height and width of an image.
      channels: channels of the first level.
      multipliers: the channels of every level, as multiples of `channels`.
      num_blocks: blocks of a level.
      attention_sides: the sides at which blocks attend.
      num_labels: number of classes, or 0.
      num_augmentations: number of the augmentation's labels in training, or 0; they are zero here.
      head_channels: channels of a head of "adm".
      image_channels: channels of an image.
      noise_scale: what the logarithm of the noise level is multiplied by for the network.
    """

    kind: str
    side: int
    channels: int
    multipliers: tuple[int, ...]
    num_blocks: int
    attention_sides: tuple[int, ...]
    num_labels: int = 0
    num_augmentations: int = 0
    head_channels: int = 64
    image_channels: int = 3
    noise_scale: float = 0.25

    @property
    def is_adm(self) -> bool:
        """Whether the architecture is ADM's."""
        return self.kind == "adm"

    @property
    def eps(self) -> float:
        """What group norms add to variances."""
        return 1e-5 if self.is_adm else 1e-6


SETTINGS = {
    "edm-cifar10": Settings("ddpm++", 32, 128, (2, 2, 2), 4, (16,), num_augmentations=9),
    "edm-cifar10-classes": Settings(
        "ddpm++", 32, 128, (2, 2, 2), 4, (16,), num_labels=10, num_augmentations=9
    ),
    "edm-imagenet64": Settings("adm", 64, 192, (1, 2, 3, 4), 3, (32, 16, 8), num_labels=1000),
}
# OpenAI's training of it: its network sees a thousand times a quarter of the logarithm.
SETTINGS["openai-edm-imagenet64"] = SETTINGS["edm-imagenet64"]._replace(noise_scale=250.0)


class Block(NamedTuple):
    """A residual block: its name, channels, change of the side and whether it attends."""

    name: str
    channels_in: int
    channels_out: int
    change: str = ""
    attends: bool = False

    def has_skip_kernel(self, settings: Settings) -> bool:
        """Whether the way around the block has a convolution, of one pixel."""
        is_resized = bool(self.change) and not settings.is_adm
        return is_resized or self.channels_in != self.channels_out


def plan(settings: Settings) -> tuple[list[Block], list[Block]]:
    """The blocks of the encoder, after its first convolution, and of the decoder."""
    widths = [settings.channels * multiplier for multiplier in settings.multipliers]
    sides = [settings.side >> level for level in range(len(widths))]
    channels = widths[0] if settings.is_adm else settings.channels
    encoder, skips = [], [channels]
    for level, (width, side) in enumerate(zip(widths, sides, strict=True)):
        at = f"{side}x{side}"
        if level:
            encoder.append(Block(f"enc.{at}_down", channels, channels, "down"))
            skips.append(channels)
        attends = side in settings.attention_sides
        for number in range(settings.num_blocks):
            encoder.append(Block(f"enc.{at}_block{number}", channels, width, attends=attends))
            channels = width
            skips.append(width)
    last = f"dec.{sides[-1]}x{sides[-1]}"
    decoder = [
        Block(f"{last}_in0", channels, channels, attends=True),
        Block(f"{last}_in1", channels, channels),
    ]
    for level in reversed(range(len(widths))):
        width, at = widths[level], f"{sides[level]}x{sides[level]}"
        if level < len(widths) - 1:
            decoder.append(Block(f"dec.{at}_up", channels, channels, "up"))
        for number in range(settings.num_blocks + 1):
            attends = sides[level] in settings.attention_sides
            attends = attends and (settings.is_adm or number == settings.num_blocks)
            name, channels_in = f"dec.{at}_block{number}", channels + skips.pop()
            decoder.append(Block(name, channels_in, width, attends=attends))
            channels = width
    return encoder, decoder


def shapes(settings: Settings) -> Shapes:
    """Shapes of all arrays by name."""
    encoder, decoder = plan(settings)
    width, side = 4 * settings.channels, settings.side
    first = encoder[0].channels_in
    every = shapes_of.linear("map_layer0", settings.channels, width)
    every |= shapes_of.linear("map_layer1", width, width)
    if settings.num_labels:
        size = width if settings.is_adm else settings.channels
        every |= shapes_of.linear(
            "map_label", settings.num_labels, size, has_bias=not settings.is_adm
        )
    if settings.num_augmentations:
        every |= shapes_of.linear(
            "map_augment", settings.num_augmentations, settings.channels, has_bias=False
        )
    every |= shapes_of.conv(f"enc.{side}x{side}_conv", settings.image_channels, first)
    for block in encoder + decoder:
        every |= _block_shapes(settings, block, width)
    norm, last = ends(settings)
    every |= shapes_of.norm(norm, decoder[-1].channels_out)
    return every | shapes_of.conv(last, decoder[-1].channels_out, settings.image_channels)


def ends(settings: Settings) -> tuple[str, str]:
    """Names of the last norm and of the last convolution."""
    at = f"dec.{settings.side}x{settings.side}"
    return ("out_norm", "out_conv") if settings.is_adm else (f"{at}_aux_norm", f"{at}_aux_conv")


def _block_shapes(settings: Settings, block: Block, width: int) -> Shapes:
    name, channels_in, channels_out, *_ = block
    every = shapes_of.norm(f"{name}.norm0", channels_in)
    every |= shapes_of.conv(f"{name}.conv0", channels_in, channels_out)
    size = 2 * channels_out if settings.is_adm else channels_out
    every |= shapes_of.linear(f"{name}.affine", width, size)
    every |= shapes_of.norm(f"{name}.norm1", channels_out)
    every |= shapes_of.conv(f"{name}.conv1", channels_out, channels_out)
    if block.has_skip_kernel(settings):
        every |= shapes_of.conv(f"{name}.skip", channels_in, channels_out, 1)
    if block.attends:
        every |= shapes_of.norm(f"{name}.norm2", channels_out)
        every |= shapes_of.conv(f"{name}.qkv", channels_out, 3 * channels_out, 1)
        every |= shapes_of.conv(f"{name}.proj", channels_out, channels_out, 1)
    return every
