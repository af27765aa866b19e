"""Chains of harmonic oscillators u_k = c_k (x - mu_k)^2 / 2 in kT: f_k = log(c_k) / 2."""

import numpy as np


def energies(means, springs, x):
    return springs[:, None] / 2 * np.square(x - means[:, None])


def chain_work(x, means, springs):
    """Forward and reverse work of all windows, (*batch, K - 1, n), from x, (*batch, K, n).

    The arrays of a batch are made one by one, since the energies are of the states' own axis.
    """
    lower, upper = (means[:-1], springs[:-1]), (means[1:], springs[1:])
    forward = energies(*upper, x[..., :-1, :]) - energies(*lower, x[..., :-1, :])
    reverse = energies(*lower, x[..., 1:, :]) - energies(*upper, x[..., 1:, :])
    return forward, reverse


def oscillators(num_samples, *, spacing=0.6, num_states=6, last_spring=4.0, seed=0, lanes=()):
    """Work of a chain and its exact differences; independent samples of every state."""
    generator = np.random.default_rng(seed)
    means = spacing * np.arange(num_states)
    springs = np.linspace(1.0, last_spring, num_states)
    noise = generator.normal(size=(*lanes, num_states, num_samples))
    x = means[:, None] + noise / np.sqrt(springs)[:, None]
    return (*chain_work(x, means, springs), np.diff(np.log(springs)) / 2)


def autoregressive(num_samples, correlation, *, seed=0, lanes=()):
    """Stationary series of unit variance with C_t = correlation^t, (*lanes, n)."""
    generator = np.random.default_rng(seed)
    steps = np.sqrt(1 - correlation**2) * generator.normal(size=(num_samples, *lanes))
    series = [generator.normal(size=lanes)]
    for step in steps[1:]:
        series.append(correlation * series[-1] + step)
    return np.moveaxis(np.stack(series), 0, -1)
