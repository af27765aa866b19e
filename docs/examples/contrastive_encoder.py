"""
A contrastive encoder on eight devices
======================================

Two encoders learn that two noisy views belong together (CLIP). The batch is split over eight
virtual devices of the processor, and every vector still meets those of all devices.
"""

import jax

jax.config.update("jax_num_cpu_devices", 8)  # before anything else; leave it out on real devices

import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx

from nce_jax import losses, training

print(jax.device_count(), "devices")

# %%
# Two views of the same thing
# ---------------------------
# Ten kinds of hidden vectors. Each view sees them through its own random matrix, with noise.

hidden_dim, view_dim = 8, 32
keys = jax.random.split(jax.random.key(0), 5)
centers = 3 * jax.random.normal(keys[0], (10, hidden_dim))
maps = jax.random.normal(keys[1], (2, hidden_dim, view_dim)) / jnp.sqrt(hidden_dim)


def draw(key, num_pairs):
    """Views x and y, each (num_pairs, view_dim), and the kind of each pair."""
    key_kind, key_hidden, key_noise = jax.random.split(key, 3)
    kind = jax.random.randint(key_kind, (num_pairs,), 0, 10)
    hidden = centers[kind] + jax.random.normal(key_hidden, (num_pairs, hidden_dim))
    views = jnp.einsum("nh,vhd->vnd", hidden, maps)
    x, y = views + 0.5 * jax.random.normal(key_noise, views.shape)
    return x, y, kind


# %%
# A train step
# ------------
# The loss is a function of the two batches of vectors. `Sharded` splits them over the mesh;
# `chunk_size` keeps the memory linear in the batch.


class Encoder(nnx.Module):
    def __init__(self, rngs):
        self.hidden = nnx.Linear(view_dim, 64, rngs=rngs)
        self.output = nnx.Linear(64, 2, rngs=rngs)

    def __call__(self, x):
        z = self.output(nnx.relu(self.hidden(x)))
        # Unit vectors, with a derivative also where z is zero, as it may be for padding.
        return z * jax.lax.rsqrt(jnp.maximum(jnp.sum(z**2, axis=-1, keepdims=True), 1e-12))


graph, params = nnx.split((Encoder(nnx.Rngs(0)), Encoder(nnx.Rngs(1))))
params = (params, jnp.log(0.2))  # the temperature is learned too
devices = losses.Sharded(training.make_mesh(), exchange="ring")


def loss_fn(params, x, y):
    encode_x, encode_y = nnx.merge(graph, params[0])
    return losses.clip_loss(
        encode_x(x), encode_y(y), temperature=jnp.exp(params[1]), chunk_size=64, devices=devices
    )


optimizer = optax.adam(3e-3)


@jax.jit
def step(params, state, key):
    x, y, _ = draw(key, 1_024)
    loss, gradient = jax.value_and_grad(loss_fn)(params, x, y)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), state, loss


state, history = optimizer.init(params), []
for key in jax.random.split(keys[2], 200):
    params, state, loss = step(params, state, key)
    history.append(float(loss))
print(f"loss {history[0]:.2f} -> {history[-1]:.2f}; of a constant encoder {np.log(1_024):.2f}")
print(f"temperature {jnp.exp(params[1]):.2f}")

# %%
# The result
# ----------
# Pairs that the encoders have not seen, on the circle of both views.

x, y, kind = draw(keys[3], 1_000)
encode_x, encode_y = nnx.merge(graph, params[0])
z_x, z_y = encode_x(x), encode_y(y)
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
left.plot(history)
left.set_xlabel("step")
left.set_ylabel("CLIP loss (nats)")
for radius, z, marker in ((1.0, z_x, "o"), (0.85, z_y, "x")):
    points = right.scatter(
        *(radius * z).T, c=kind, cmap="tab10", vmin=-0.5, vmax=9.5, s=8, marker=marker
    )
figure.colorbar(points, ax=right, label="kind", ticks=range(10))
right.set(xlabel="first coordinate", ylabel="second coordinate", aspect="equal")
right.set_title("x outside, y inside at 0.85 of the radius")

# %%
# The numbers do not depend on the devices: one device gives the same loss, up to rounding.

one = losses.clip_loss(z_x[:512], z_y[:512], temperature=0.1)
eight = losses.clip_loss(z_x[:512], z_y[:512], temperature=0.1, devices=devices)
print(f"one device {one:.6f}, eight devices {eight:.6f}")
