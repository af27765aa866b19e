"""ResNet-18 for small images, with a quadratic head."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from nce_jax._checks import check_key, check_positive_int
from nce_jax._checks import compute_dtype as at_least_float32
from nce_jax._types import Array, LogDensityFn, Params, PRNGKeyArray
from nce_jax.models._checks import check_dtypes
from nce_jax.models._images import ImageShape, as_image_shape, as_images, taking_images
from nce_jax.models._quadratic_head import quadratic_energy

_BLOCKS = tuple(
    (2**stage, 2 if stage and not block else 1) for stage in range(4) for block in range(2)
)
"""Multiple of the width, and stride, of every block: there are two blocks per stage, and each stage
but the first halves the image and doubles the channels."""

_GROUP_SIZE = 16
"""Number of channels in a group, among the best values of Wu and He at any width."""


def resnet18_energy(
    key: PRNGKeyArray,
    image_shape: Sequence[int],
    *,
    width: int = 64,
    min_eigenvalue: float = 1e-6,
    param_dtype: DTypeLike = jnp.float32,
    compute_dtype: DTypeLike | None = None,
) -> tuple[Params, LogDensityFn]:
    """Energy of small images (28 x 28, 32 x 32): a quadratic form of ResNet-18 features.

    phi(x) = f(x)' W f(x) + b' f(x), with W = L L' + e I positive definite and e = `min_eigenvalue`.
    f are the 8 `width` features of a residual network: a 3 x 3 convolution of stride 1 without
    pooling, four stages of two blocks with `width`, 2, 4 and 8 times `width` channels, and the mean
    over pixels. L, b and the weights of the network are `params`. phi starts near zero, as
    described under `QuadraticHead`.

    Sevekari et al. use this phi as a log ratio relative to the noise, log p - log q = phi + c.
    Their c is minus the normalizer F. It is not among `params`: F is solved for, or learned as a
    separate parameter. A log density would be phi plus the log density of the noise.

    Normalization is by group norm, with 16 channels in a group (all, where 16 does not divide
    them), and not by the batch norm of the original network. With batch norm, phi of a sample would
    depend on the other samples, and the network could distinguish data from noise by the statistics
    of their batches. Group norm also bounds f, and so phi, in x, so that exp(phi) q has a finite
    normalizer for every noise q and all parameters. Without a further change, group norm would make
    phi independent of the contrast of an image. The first convolution therefore has a bias, unlike
    the original, and the bias starts at random values.

    Args:
      key: typed key (`jax.random.key`) for the initial weights; `jax.vmap` over keys stacks the
        parameters of many seeds.
      image_shape: (height, width, channels) of an image.
      width: number of channels of the first stage; 64 is ResNet-18 (11.2 million weights).
      min_eigenvalue: lower bound on the eigenvalues of W, a plain number.
      param_dtype: dtype of the parameters.
      compute_dtype: dtype that the network computes in, such as bfloat16, to which images are
        rounded too; None promotes parameters and samples. The moments of the group norm, the mean
        over pixels and the quadratic form are in float32 or wider.

    Returns:
      `(params, log_density_fn)`: nested dictionaries `{"features": {...}, "head": {"factor": L,
      "bias": b}}` of arrays, and phi as a function `log_density_fn(params, x)` of images (samples,
      height, width, channels) or the same flattened, (samples, height * width * channels), with
      values (samples,), float32 or wider.

    Raises:
      TypeError: `key` is not a typed key, or a size is not an integer.
      ValueError: `key` is not a single key, `image_shape` is not three sizes, a size is less than
        one, or `min_eigenvalue` is not positive; when `log_density_fn` is called: `x` has another
        shape.

    Examples:
      >>> import jax
      >>> from nce_jax import models
      >>> jax.eval_shape(  # shapes only, without drawing weights
      ...     lambda key: models.resnet18_energy(key, (28, 28, 1))[0]["head"]["factor"],
      ...     jax.random.key(0),
      ... ).shape
      (512, 512)

    References:
      Sevekari et al., Accelerating NCE convergence with adaptive normalizing constant computation,
        2024 (the MNIST experiment). He et al., Deep residual learning for image recognition, 2016
        (table 1, 18 layers).
      Wu and He, Group normalization, 2018 (section 4.1).
    """
    check_key(key)
    shape = as_image_shape(image_shape)
    check_positive_int("width", width)
    check_dtypes(param_dtype, compute_dtype)
    key_features, key_head = jax.random.split(key)
    features = _ResNet18(key_features, shape, width, param_dtype, compute_dtype)
    params, log_density_fn = quadratic_energy(
        key_head, features, 8 * width, min_eigenvalue=min_eigenvalue, param_dtype=param_dtype
    )
    return params, taking_images(log_density_fn, shape)


class _ResNet18(nnx.Module):
    """Features (samples, 8 width), of layers with names, which are the keys of the parameters."""

    def __init__(
        self,
        key: PRNGKeyArray,
        image_shape: ImageShape,
        width: int,
        param_dtype: DTypeLike,
        compute_dtype: DTypeLike | None,
    ) -> None:
        self.image_shape = image_shape
        options: dict[str, Any] = {
            "dtype": compute_dtype,
            "param_dtype": param_dtype,
            "rngs": nnx.Rngs(key),
        }
        # Group norm shows the contrast of an image relative to the bias, which is therefore about
        # as large as the response to unit pixels.
        bias_init = nnx.initializers.normal(1.0)
        self.stem = _ConvNorm(image_shape[-1], width, bias_init=bias_init, **options)
        count_in = width
        for index, (multiple, stride) in enumerate(_BLOCKS):
            setattr(self, f"block_{index}", _Block(count_in, multiple * width, stride, options))
            count_in = multiple * width

    def __call__(self, x: Array) -> Array:
        x = jax.nn.relu(self.stem(as_images(x, self.image_shape)))
        for index in range(len(_BLOCKS)):
            x = getattr(self, f"block_{index}")(x)
        return jnp.mean(x.astype(at_least_float32(x)), axis=(1, 2))


class _Block(nnx.Module):
    """relu(norm(conv(relu(norm(conv(x))))) + x), with x projected where the shape changes."""

    def __init__(self, count_in: int, count_out: int, stride: int, options: dict[str, Any]) -> None:
        self.first = _ConvNorm(count_in, count_out, stride=stride, **options)
        self.second = _ConvNorm(count_out, count_out, **options)
        self.has_projection = stride != 1 or count_in != count_out
        if self.has_projection:
            self.projection = _ConvNorm(
                count_in, count_out, kernel_size=1, stride=stride, **options
            )

    def __call__(self, x: Array) -> Array:
        shortcut = self.projection(x) if self.has_projection else x
        return jax.nn.relu(self.second(jax.nn.relu(self.first(x))) + shortcut)


class _ConvNorm(nnx.Module):
    """A convolution, padded evenly on both sides as in the original, and group norm."""

    def __init__(
        self,
        count_in: int,
        count_out: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        bias_init: nnx.Initializer | None = None,
        **options: Any,
    ) -> None:
        self.conv = nnx.Conv(
            count_in,
            count_out,
            (kernel_size, kernel_size),
            strides=stride,
            padding=kernel_size // 2,
            kernel_init=nnx.initializers.he_normal(),
            use_bias=bias_init is not None,
            bias_init=bias_init or nnx.initializers.zeros_init(),
            **options,
        )
        # The variance from deviations, since E[x^2] - E[x]^2 cancels where the bias is much larger
        # than the image.
        self.norm = nnx.GroupNorm(
            count_out,
            num_groups=None,
            group_size=_group_size(count_out),
            epsilon=1e-5,
            use_fast_variance=False,
            **options,
        )

    def __call__(self, x: Array) -> Array:
        return self.norm(self.conv(x))


def _group_size(count: int) -> int:
    return _GROUP_SIZE if count % _GROUP_SIZE == 0 else count
