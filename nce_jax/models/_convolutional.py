"""A convolutional network as an energy of images."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from nce_jax._checks import check_key, describe
from nce_jax._checks import compute_dtype as at_least_float32
from nce_jax._options import as_sizes, check_function
from nce_jax._types import Array, LogDensityFn, Params, PRNGKeyArray
from nce_jax.models._checks import check_dtypes
from nce_jax.models._images import ImageShape, as_image_shape, as_images, taking_images
from nce_jax.models._module import split_module


def conv_energy(
    key: PRNGKeyArray,
    image_shape: Sequence[int],
    *,
    channels: Sequence[int] = (32, 64, 128),
    activation: Callable[[Array], Array] = jax.nn.silu,
    param_dtype: DTypeLike = jnp.float32,
    compute_dtype: DTypeLike | None = None,
) -> tuple[Params, LogDensityFn]:
    r"""Energy of images given by strided convolutions and one linear layer.

    .. math::

       \varphi(x) = w^T a_L + c, \qquad a_l = h(K_l * a_{l-1} + b_l), \qquad a_0 = x.

    Each K is a 3 x 3 convolution of stride 2 with a zero padding of one pixel, so that height and
    width are halved and rounded up. The numbers of channels are `channels`, h is `activation`, and
    all K, b, w and c are `params`. The energy is -phi.

    There is no normalization layer. The default h is smooth, so that the gradient in x, which
    samplers follow, is continuous. phi grows at most linearly in |x|. As a log ratio relative to
    Gaussian noise it therefore has a finite normalizer; as a log density it has one only for
    bounded pixels.

    Args:
      key: typed key (`jax.random.key`) for the initial weights; `jax.vmap` over keys stacks the
        parameters of many seeds.
      image_shape: (height, width, channels) of an image.
      channels: numbers of channels of the convolutions, from first to last.
      activation: elementwise function h.
      param_dtype: dtype of the parameters.
      compute_dtype: dtype that the convolutions compute in, such as bfloat16, to which images are
        rounded too; None promotes parameters and samples. The last layer computes in float32 or
        wider.

    Returns:
      `(params, log_density_fn)`: nested dictionaries `{"conv_0": {"kernel", "bias"}, ..., "output":
      ...}` of arrays, and phi as a function `log_density_fn(params, x)` of images (samples, height,
      width, channels) or the same flattened, (samples, height * width * channels), with values
      (samples,).

    Raises:
      TypeError: `key` is not a typed key, or a size is not an integer.
      ValueError: `key` is not a single key, `image_shape` is not three sizes, `channels` is empty,
        or a size is less than one; when `log_density_fn` is called: `x` has another shape.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import models
      >>> params, log_density_fn = models.conv_energy(jax.random.key(0), (8, 8, 1), channels=(4,))
      >>> jax.tree.map(jnp.shape, params)
      {'conv_0': {'bias': (4,), 'kernel': (3, 3, 1, 4)},
       'output': {'bias': (1,), 'kernel': (64, 1)}}
      >>> log_density_fn(params, jnp.zeros((2, 64))).tolist()
      [0.0, 0.0]

    References:
      Nijkamp et al., Learning non-convergent non-persistent short-run MCMC toward energy-based
        model, 2019 (networks of this kind).
    """
    check_key(key)
    shape = as_image_shape(image_shape)
    channels = as_sizes("channels", channels)
    if not channels:
        raise ValueError("channels: expected at least one convolution, got none")
    _check_activation(activation)
    check_dtypes(param_dtype, compute_dtype)
    params, log_density_fn = split_module(
        _ConvNet(key, shape, channels, activation, param_dtype, compute_dtype)
    )
    return params, taking_images(log_density_fn, shape)


def _check_activation(activation: Callable[[Array], Array]) -> None:
    """Raises unless this is a function of an array that keeps its shape."""
    check_function("activation", activation, "one array")
    shape = 2, 3
    returned = jax.eval_shape(activation, jnp.zeros(shape))
    if getattr(returned, "shape", None) != shape:
        raise ValueError(
            f"activation: expected an elementwise function such as jax.nn.silu, got one that"
            f" returns {describe(returned)} for an array of shape {shape}"
        )


class _ConvNet(nnx.Module):
    """Layers with names, so that the parameters are nested dictionaries of strings."""

    def __init__(
        self,
        key: PRNGKeyArray,
        image_shape: ImageShape,
        channels: tuple[int, ...],
        activation: Callable[[Array], Array],
        param_dtype: DTypeLike,
        compute_dtype: DTypeLike | None,
    ) -> None:
        rngs = nnx.Rngs(key)
        self.image_shape, self.num_layers, self.activation = image_shape, len(channels), activation
        height, width, channels_in = image_shape
        for index, (count_in, count_out) in enumerate(pairwise((channels_in, *channels))):
            layer = nnx.Conv(
                count_in,
                count_out,
                (3, 3),
                strides=2,
                padding=1,
                dtype=compute_dtype,
                param_dtype=param_dtype,
                kernel_init=nnx.initializers.he_normal(),
                rngs=rngs,
            )
            setattr(self, f"conv_{index}", layer)
            height, width = (height + 1) // 2, (width + 1) // 2
        self.output = nnx.Linear(
            height * width * channels[-1], 1, param_dtype=param_dtype, rngs=rngs
        )

    def __call__(self, x: Array) -> Array:
        x = as_images(x, self.image_shape)
        for index in range(self.num_layers):
            x = self.activation(getattr(self, f"conv_{index}")(x))
        x = jnp.reshape(x, (x.shape[0], -1))
        return self.output(x.astype(at_least_float32(x)))
