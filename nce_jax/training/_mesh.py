"""The device mesh, and where on it the leaves of a train state lie."""

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from nce_jax._checks import check_positive_int, describe
from nce_jax._contracts import check_arrays
from nce_jax.training._composition import check_step
from nce_jax.training._processes import check_same

LANE_AXIS, DATA_AXIS = "lane", "data"

ShardingRules = Sequence[tuple[str, PartitionSpec]]
"""Pairs (pattern, split): the first pattern found in the path of a leaf decides; leaves without a
match are on every device."""


def make_mesh(num_lanes: int = 1, *, devices: Sequence[Any] | None = None) -> Mesh:
    """Makes a mesh of devices with the axes "lane", for sweeps, and "data", for samples.

    Args:
      num_lanes: number of devices along "lane"; the others lie along "data". A single training uses
        1.
      devices: devices to use; None takes all, also of other processes.

    Returns:
      A `jax.sharding.Mesh` of shape (num_lanes, len(devices) / num_lanes).

    Raises:
      ValueError: `num_lanes` does not divide the number of devices.
      TypeError: `num_lanes` is not an integer.

    Examples:
      >>> import jax
      >>> from nce_jax import training
      >>> mesh = training.make_mesh(devices=jax.devices()[:1])
      >>> dict(mesh.shape)
      {'lane': 1, 'data': 1}

    References:
      Xu et al., GSPMD: general and scalable parallelization for ML computation graphs, 2021.
    """
    check_positive_int("num_lanes", num_lanes)
    devices = jax.devices() if devices is None else _as_devices(devices)
    if not devices or len(devices) % num_lanes:
        raise ValueError(
            f"num_lanes: expected a divisor of the {len(devices)} devices, got {num_lanes}"
        )
    shape = num_lanes, len(devices) // num_lanes
    return jax.make_mesh(
        shape, (LANE_AXIS, DATA_AXIS), (AxisType.Auto, AxisType.Auto), devices=devices
    )


def _as_devices(devices: Any) -> list[Any]:
    given = list(devices.flat) if isinstance(devices, np.ndarray) else _entries(devices)
    wrong = [device for device in given if not isinstance(device, jax.Device)]
    if wrong:
        raise TypeError(
            f"devices: expected devices such as jax.devices()[:1], got {describe(wrong[0])}"
        )
    return given


def _entries(values: Any) -> list[Any]:
    """The entries of a list or the like; anything else is one entry, to be refused as it is."""
    is_plain = isinstance(values, Iterable) and not isinstance(values, str | type)
    return [values] if hasattr(values, "dtype") or not is_plain else list(values)


def state_shardings(state: Any, mesh: Mesh, rules: ShardingRules = ()) -> Any:
    """Shardings of a train state: leaves split by rule, or copied to every device.

    A leaf's path is that of its names and numbers, such as "params/layers/0/kernel". An optimizer's
    averages have the path of their parameter at the end of their own, and are split with it.

    Args:
      state: what `train.init(params)` returns, or any pytree of arrays.
      mesh: the devices.
      rules: pairs of a regular expression, searched for in the path, and a
        `jax.sharding.PartitionSpec`. The first that is found decides.

    Returns:
      A pytree of `NamedSharding`, like `state`.

    Raises:
      TypeError: no mesh; a rule that is no pair of a pattern and a `PartitionSpec`.
      ValueError: a pattern that no leaf has, a split that does not fit the parameter's shape, an
        axis that the mesh has not; each is named. A mesh without a data axis, or with axes that are
        not of type Auto.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from jax.sharding import PartitionSpec
      >>> from nce_jax import training
      >>> mesh = training.make_mesh(devices=jax.devices()[:1])
      >>> rules = [("kernel", PartitionSpec(None, "data"))]
      >>> shardings = training.state_shardings(
      ...     {"kernel": jnp.zeros((2, 8)), "bias": jnp.zeros(8)}, mesh, rules
      ... )
      >>> tuple(shardings["kernel"].spec), tuple(shardings["bias"].spec)
      ((None, 'data'), ())

    References:
      Xu et al., GSPMD: general and scalable parallelization for ML computation graphs, 2021.
    """
    check_arrays("state", state)
    leaves = [(_path(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)]
    if mesh is None:
        raise TypeError("mesh: expected a Mesh such as training.make_mesh(), got None")
    check_mesh(mesh)
    rules = _as_rules(rules)
    for pattern, spec in rules:
        _check_rule(pattern, spec, mesh, [name for name, _ in leaves])
    shardings = [NamedSharding(mesh, _spec(name, leaf, mesh, rules)) for name, leaf in leaves]
    return jax.tree.unflatten(jax.tree.structure(state), shardings)


def shard_state(state: Any, mesh: Mesh, rules: ShardingRules = ()) -> Any:
    """Puts a train state onto a mesh, as `state_shardings` says.

    With several processes every one of them calls it with the same values.

    Args:
      state: what `train.init(params)` returns, or any pytree of arrays.
      mesh: the devices.
      rules: as in `state_shardings`; () keeps a copy on every device.

    Returns:
      The state, as arrays on the mesh.

    Raises:
      ValueError: as `state_shardings`; values that differ between processes.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import training
      >>> mesh = training.make_mesh(devices=jax.devices()[:1])
      >>> training.shard_state({"kernel": jnp.zeros((2, 8))}, mesh)[
      ...     "kernel"
      ... ].sharding.is_fully_replicated
      True

    References:
      Xu et al., GSPMD: general and scalable parallelization for ML computation graphs, 2021.
    """
    shardings = state_shardings(state, mesh, rules)
    check_same("state", state)
    return jax.tree.map(_put, state, shardings)


def jit_train_step(step: Callable[..., Any], state: Any) -> Any:
    """Compiles a train step that returns its state on the same devices, in the same memory.

    Args:
      step: what `make_train_step` returns, or any `step(state, batch, key) -> (state, metrics)`.
      state: the state that it will be given, as `shard_state` returns it.

    Returns:
      `jax.jit(step)`, whose first argument is donated: the old state is gone after the call.

    Examples:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from nce_jax import training
      >>> state = training.shard_state(jnp.zeros(2), training.make_mesh(devices=jax.devices()[:1]))
      >>> step = training.jit_train_step(
      ...     lambda state, batch, key: (state + batch, batch.sum()), state
      ... )
      >>> state, metrics = step(state, jnp.ones(2), jax.random.key(0))
      >>> print(state, metrics)
      [1. 1.] 2.0

    References:
      Xu et al., GSPMD: general and scalable parallelization for ML computation graphs, 2021.
    """
    check_step(step)
    check_arrays("state", state)
    return jax.jit(step, donate_argnums=0, out_shardings=output_shardings(state))


def output_shardings(state: Any) -> tuple[Any, NamedSharding | None]:
    """Output shardings of a step: the state's own, and metrics everywhere; None without a mesh."""
    current = [getattr(leaf, "sharding", None) for leaf in jax.tree.leaves(state)]
    meshes = [sharding.mesh for sharding in current if isinstance(sharding, NamedSharding)]
    if not meshes:
        return None, None
    replicated = NamedSharding(meshes[0], PartitionSpec())
    shardings = [item if isinstance(item, NamedSharding) else replicated for item in current]
    return jax.tree.unflatten(jax.tree.structure(state), shardings), replicated


def shares_threads(state: Any) -> bool:
    """Whether the devices are several CPU devices of one process.

    They share its threads: with several steps in flight the threads can all be waiting in
    collective operations of which another part has none left to run on.
    """
    devices = {device for leaf in jax.tree.leaves(state) for device in _devices(leaf)}
    return len(devices) > 1 and all(device.platform == "cpu" for device in devices)


def _put(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """Copies a leaf to its devices.

    Without a copy, a part that stays on its device would be lost to the caller once the step
    donates it.
    """
    leaf = jnp.asarray(leaf)
    if jax.process_count() == 1:
        return jax.device_put(jnp.copy(leaf), sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(
            _put(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf)
        )
    # `jax.device_put` would compare the values of all processes, and it treats NaN as unequal to
    # NaN.
    values = np.asarray(leaf)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def _devices(leaf: Any) -> set[Any]:
    return leaf.sharding.addressable_devices if isinstance(leaf, jax.Array) else set()


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def check_mesh(mesh: Any) -> None:
    """Raises unless `mesh` is None, or has a data axis that the compiler may split arrays along."""
    if mesh is None:
        return
    if not isinstance(mesh, Mesh):
        raise TypeError(f"mesh: expected a Mesh such as training.make_mesh(), got {describe(mesh)}")
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if DATA_AXIS not in kinds or any(kind != AxisType.Auto for kind in kinds.values()):
        raise ValueError(
            f"mesh: expected an axis {DATA_AXIS!r} and axes of type Auto, as make_mesh makes them,"
            f" got {kinds}"
        )


def _as_rules(rules: Any) -> ShardingRules:
    """The rules as a list; raises unless each is a regular expression with a PartitionSpec."""
    pairs = _entries(rules)
    for rule in pairs:
        if not (isinstance(rule, tuple) and len(rule) == 2 and isinstance(rule[1], PartitionSpec)):
            raise TypeError(f"rules: expected pairs of a pattern and a PartitionSpec, got {rule!r}")
        try:
            re.compile(rule[0])
        except (re.error, TypeError) as error:
            raise ValueError(
                f"rules: expected a regular expression, got {rule[0]!r} ({error})"
            ) from error
    return pairs


def _check_rule(pattern: str, spec: PartitionSpec, mesh: Mesh, names: list[str]) -> None:
    if not any(re.search(pattern, name) for name in names):
        raise ValueError(
            f"rules: expected a pattern found in a path such as {next(iter(names), '')}, got"
            f" {pattern!r}"
        )
    wrong = sorted({axis for axes in spec for axis in _axes(axes)} - {*mesh.axis_names})
    if wrong:
        raise ValueError(
            f"rules: expected axes of the mesh, {list(mesh.axis_names)}, got {wrong} for"
            f" {pattern!r}"
        )


def _axes(entry: Any) -> tuple[str, ...]:
    """Axes of one entry of a PartitionSpec: none, one, or several."""
    return () if entry is None else entry if isinstance(entry, tuple) else (entry,)


def _spec(name: str, leaf: Any, mesh: Mesh, rules: ShardingRules) -> PartitionSpec:
    spec = next((spec for pattern, spec in rules if re.search(pattern, name)), PartitionSpec())
    shape = jnp.shape(leaf)
    if _fits(spec, shape, mesh):
        return spec
    # Counters and factored averages of a parameter are small: a copy each.
    if "opt_state" in name.split("/"):
        return PartitionSpec()
    raise ValueError(
        f"rules: expected a split that fits {name} of shape {shape} on a mesh {dict(mesh.shape)},"
        f" got {spec}"
    )


def _fits(spec: PartitionSpec, shape: tuple[int, ...], mesh: Mesh) -> bool:
    parts = [_num_parts(entry, mesh) for entry in spec]
    return len(parts) <= len(shape) and all(
        size % part == 0 for size, part in zip(shape, parts, strict=False)
    )


def _num_parts(entry: Any, mesh: Mesh) -> int:
    count = 1
    for axis in _axes(entry):
        count *= mesh.shape[axis]
    return count
