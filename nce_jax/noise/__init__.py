"""Fixed noise distributions: a known, normalized density q from which it is cheap to draw.

Every function returns a distrax distribution, most of them over vectors of shape (dim,). If `noise`
is one of them,

- `noise.sample(seed=key, sample_shape=num_samples)` draws `x_noise`, of shape (num_samples, dim);
- `noise.log_prob(x)` returns log q(x), of shape (num_samples,), exactly normalized: the log ratio
  is `log_density_fn(params, x)` minus it;
- `noise.sample_and_log_prob(seed=key, sample_shape=num_samples)` returns both.

The last two methods are all that the library needs: any object with them, a `Noise`, can take the
place of these distributions, and so can distributions of numpyro, TFP and flowjax (`as_noise`). All
of them work under `jit`, `vmap` and `grad`, and a distribution can be an argument or a result of a
transformed function. NCE needs a noise that covers the data: where p*(x) > 0, q(x) must be
positive. `uniform_box` can violate this, and so can tables of words with zeros.

`categorical`, `unigram` and `log_uniform` are distributions over the words of a vocabulary. Their
samples are integers, of shape (num_samples,).
"""

from nce_jax._types import Noise
from nce_jax.noise._box import uniform_box, uniform_box_around
from nce_jax.noise._gaussian import fitted_gaussian, standard_normal
from nce_jax.noise._marginals import product_of_marginals
from nce_jax.noise._other_libraries import as_noise
from nce_jax.noise._vocabulary import categorical, log_uniform, unigram

__all__ = [
    "Noise",
    "as_noise",
    "categorical",
    "fitted_gaussian",
    "log_uniform",
    "product_of_marginals",
    "standard_normal",
    "uniform_box",
    "uniform_box_around",
    "unigram",
]
