"""Settings, all our choice: no paper of the losses has these data and this encoder."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    images: tuple[str, ...] = ("fashion-mnist", "digits")
    """Fashion-MNIST where NCE_JAX_DATA has it or it can be fetched; scikit-learn's 8 x 8 digits
    need nothing."""
    num_train: int = 10_000
    """Images to learn from, at most, without their labels; the probe is fitted to them with their
    labels."""
    num_test: int = 5_000
    """Images that the probe is assessed on, at most. Nothing is chosen by them."""
    batch_sizes: tuple[int, ...] = (32, 128, 512)
    """Pairs per step."""
    temperatures: tuple[float, ...] = (0.05, 0.2, 1.0)
    """What cosines are divided by."""
    magnification: float = 10.0
    """M of "ranking, M"."""
    siglip_bias: float = -10.0
    """At the start, as its authors have it; learned."""
    num_pairs: int = 150_000
    """Pairs of views seen in training, whatever the batch size."""
    hidden: int = 128
    """Width of the encoder's one hidden layer, whose values are the features that the probe
    sees."""
    dim: int = 64
    """Of the embedding that the loss sees."""
    learning_rate: float = 1e-3
    """Of Adam; it falls to zero on a cosine."""
    num_seeds: int = 2
    """Encoders and batches."""
    shown: tuple[int, float] = (512, 0.2)
    """Batch size and temperature of the picture and of the headline, named beforehand."""
    num_shown: int = 1_500
    """Test images in the picture."""
    seed: int = 0
    """Of everything random."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        images=("digits",),
        num_train=300,
        num_test=200,
        batch_sizes=(32,),
        temperatures=(0.2,),
        num_pairs=640,
        hidden=16,
        dim=8,
        shown=(32, 0.2),
        num_shown=60,
    ),
}
