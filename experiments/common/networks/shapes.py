"""Names and shapes of a network's arrays. Converters use them where JAX is not installed."""

Shapes = dict[str, tuple[int, ...]]

CHECK = "check."
"""What the names of a forward pass's inputs and of its output begin with, in a converted file."""


def conv(name: str, channels_in: int, channels_out: int, side: int = 3) -> Shapes:
    """Shapes of a convolution with a bias."""
    kernel = (channels_out, channels_in, side, side)
    return {f"{name}.weight": kernel, f"{name}.bias": (channels_out,)}


def linear(name: str, num_in: int, num_out: int, has_bias: bool = True) -> Shapes:
    """Shapes of a linear layer."""
    shapes: Shapes = {f"{name}.weight": (num_out, num_in)}
    return shapes | {f"{name}.bias": (num_out,)} if has_bias else shapes


def norm(name: str, channels: int) -> Shapes:
    """Shapes of a group normalization."""
    return {f"{name}.weight": (channels,), f"{name}.bias": (channels,)}


def batch_norm(name: str, channels: int) -> Shapes:
    """Shapes of a batch normalization."""
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{leaf}": (channels,) for leaf in leaves}
