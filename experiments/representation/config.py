"""Settings, all our choice: no paper on the losses uses these data and this encoder."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Config:
    images: tuple[str, ...] = ("fashion-mnist", "digits")
    """Data sets. Fashion-MNIST is read from NCE_JAX_DATA or downloaded; scikit-learn's 8 x 8 digits
    are installed with it."""
    num_train: int = 10_000
    """Maximum number of training images. They are used without labels, except by the probe."""
    num_test: int = 5_000
    """Maximum number of test images of the probe, on which nothing is chosen."""
    batch_sizes: tuple[int, ...] = (32, 128, 512)
    """Numbers of pairs per step."""
    temperatures: tuple[float, ...] = (0.05, 0.2, 1.0)
    """Temperatures that cosines are divided by."""
    magnification: float = 10.0
    """M of "ranking, M"."""
    siglip_bias: float = -10.0
    """Initial value of SigLIP's learned bias, as its authors have it."""
    num_pairs: int = 150_000
    """Number of pairs of views in a training, whatever the batch size."""
    hidden: int = 128
    """Width of the encoder's hidden layer, whose values are the features of the probe."""
    dim: int = 64
    """Dimension of the embedding in the loss."""
    learning_rate: float = 1e-3
    """Learning rate of Adam, decayed to zero on a cosine."""
    num_seeds: int = 2
    """Number of seeds of the encoder and of the batches."""
    shown: tuple[int, float] = (512, 0.2)
    """Batch size and temperature of the picture and of the headline numbers, chosen beforehand."""
    num_shown: int = 1_500
    """Number of test images in the picture."""
    seed: int = 0
    """Seed of all random numbers."""


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
