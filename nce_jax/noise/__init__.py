"""Fixed noise distributions: the reference q whose log density is known and which is cheap to draw
from.

Every function returns a distrax distribution, most of them over vectors of shape (dim,). With
`noise` one of them:

- `noise.sample(seed=key, sample_shape=num_samples)` draws `x_noise`, of shape (num_samples, dim);
- `noise.log_prob(x)` is log q(x), of shape (num_samples,), exactly normalized: the log ratio is
  `log_density_fn(params, x)` minus this;
- `noise.sample_and_log_prob(seed=key, sample_shape=num_samples)` gives both.

All work under `jit`, `vmap` and `grad`, and a distribution may be passed to and returned from a
transformed function. NCE needs a noise that covers the data: where p*(x) > 0, q(x) must be
positive. `uniform_box` can break this, and tables of words with zeros.

`categorical`, `unigram` and `log_uniform` are over the words of a vocabulary: integers, of shape
(num_samples,).
"""

from nce_jax.noise._box import uniform_box, uniform_box_around
from nce_jax.noise._gaussian import fitted_gaussian, standard_normal
from nce_jax.noise._marginals import product_of_marginals
from nce_jax.noise._vocabulary import categorical, log_uniform, unigram

__all__ = [
    "categorical",
    "fitted_gaussian",
    "log_uniform",
    "product_of_marginals",
    "standard_normal",
    "uniform_box",
    "uniform_box_around",
    "unigram",
]
