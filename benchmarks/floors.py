"""Floors: lower bounds on the time of a row's work, from ceilings of this machine.

A solver reads every log ratio once per evaluation, takes the logistic function of it, and sums the
results and their squares: this is the least from which the equation and its slope follow. What a
pass that does so costs, and one that only reads, is measured on arrays of the same size and dtype,
so that they come from the same cache. The array goes through one program, on as many threads as XLA
takes, and in parts through one program per core: the faster of the two counts.

A step of training cannot be faster than its model's matrix products and convolutions alone: those
are found in the step's own jaxpr and timed by themselves, with the step's shapes and number of
calls.

    ceilings = floors.evaluations(2 * size, "float64")
    timed = measure(contenders | ceilings.contenders, ...)
    compare(..., floor=ceilings.floor(steps))
"""

import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.harness import Contender, Timed
from benchmarks.rows import Floor

PRODUCTS = ("dot_general", "conv_general_dilated")
PASSES = 20
"""Passes over the array in one call, which make the overhead of the call negligible."""


class Evaluations(NamedTuple):
    """Ceilings for arrays of `size` elements of `dtype`, as contenders.

    Their unit is one pass over the array.
    """

    size: int
    dtype: str
    contenders: Mapping[str, Contender]

    def floor(self, count: float) -> Floor:
        """Floor of `count` evaluations: the longer of reading everything and of the sums."""

        def seconds(timed: Mapping[str, Timed]) -> np.ndarray:
            reading = self._fastest(timed, "copying") / 2  # a copy reads and writes
            return count * np.maximum(reading, self._fastest(timed, "sums"))

        return Floor(
            "every evaluation takes the logistic function of all samples, its sum and that of its"
            " squares",
            seconds,
        )

    def label(self, name: str, parts: int) -> str:
        """Name of a contender."""
        return f"ceiling of {name}, {self.size:,} {self.dtype}, {parts} at once"

    def _fastest(self, timed: Mapping[str, Timed], name: str) -> np.ndarray:
        """Seconds per pass of the fastest variant, at every repetition."""
        return np.min(
            [timed[self.label(name, parts)].seconds for parts in {1, os.cpu_count() or 1}], axis=0
        )


_Carry = tuple[jax.Array, jax.Array]


def _copy(x: jax.Array, number: jax.Array) -> _Carry:
    return 0.5 * x, number


def _sum(x: jax.Array, number: jax.Array) -> _Carry:
    sigma = jax.nn.sigmoid(x + number)
    # The next pass waits for this one, and its numbers are the same.
    return x, 1e-30 * (jnp.sum(sigma) + jnp.vdot(sigma, sigma))


_PASSES: dict[str, Callable[[jax.Array, jax.Array], _Carry]] = {"copying": _copy, "sums": _sum}


def evaluations(size: int, dtype: str) -> Evaluations:
    """Ceilings of copying and of the sums, by one program and by one part per core."""
    ceilings = Evaluations(size, dtype, {})
    contenders = {
        ceilings.label(name, parts): Contender(_repeated(pass_fn, size, dtype, parts), PASSES)
        for name, pass_fn in _PASSES.items()
        for parts in sorted({1, os.cpu_count() or 1})
    }
    return ceilings._replace(contenders=contenders)


def _repeated(
    pass_fn: Callable[[jax.Array, jax.Array], _Carry], size: int, dtype: str, parts: int
) -> Callable[[], None]:
    """`PASSES` passes, each of which waits for the previous one.

    Every part is a program in a thread of its own.
    """

    def program(x: jax.Array) -> _Carry:
        return jax.lax.fori_loop(0, PASSES, lambda _, carry: pass_fn(*carry), (x, 0 * x[0]))

    arrays = [jnp.ones(len(part), dtype) for part in np.array_split(np.empty(size), parts)]
    # Compiled here, since another thread would not have x64 enabled.
    programs = [jax.jit(program).lower(x).compile() for x in arrays]
    if parts == 1:
        return lambda: jax.block_until_ready(programs[0](arrays[0]))
    pool = ThreadPoolExecutor(parts)

    def run_part(part: int) -> None:
        jax.block_until_ready(programs[part](arrays[part]))

    return lambda: list(pool.map(run_part, range(parts)))


def together(*floors: Floor) -> Floor:
    """The floor of work after work, described by the last."""
    return Floor(floors[-1].what, lambda timed: sum(floor.seconds(timed) for floor in floors))


class Products(NamedTuple):
    """The matrix products and convolutions of a program."""

    contenders: Mapping[str, Contender]
    floor: Floor


def products(
    program: Callable[..., Any], *arguments: Any, name: str = "", calls: int = 1
) -> Products:
    """Floor of a step: its products alone with random operands, `calls` of them in sequence."""
    equations = list(_equations(jax.make_jaxpr(program)(*arguments).jaxpr))
    # All operands differ, since XLA would compute equal products once.
    seeds = itertools.count()
    operands = [
        tuple(_random(variable.aval, next(seeds)) for variable in equation.invars)
        for equation in equations
    ]

    @jax.jit
    def products_alone(operands: Any) -> list[jax.Array]:
        return [
            equation.primitive.bind(*pair, **equation.params)
            for equation, pair in zip(equations, operands, strict=True)
        ]

    def call() -> None:
        for _ in range(calls):
            outputs = products_alone(operands)
        jax.block_until_ready(outputs)

    label, flops = f"products alone{f', {name}' if name else ''}", sum(map(_flops, equations))
    what = f"the step's {len(equations)} products alone ({flops / 1e6:.3g} Mflop)"
    return Products(
        {label: Contender(call, calls)}, Floor(what, lambda timed: timed[label].seconds)
    )


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Every product in a jaxpr and in the functions it calls; a loop's body counts once."""
    for equation in jaxpr.eqns:
        if equation.primitive.name in PRODUCTS:
            yield equation
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda leaf: hasattr(leaf, "eqns")
        ):
            if hasattr(inner, "eqns"):
                yield from _equations(getattr(inner, "jaxpr", inner))


def _random(aval: Any, seed: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=aval.shape), aval.dtype)


def _flops(equation: Any) -> float:
    """Twice the number of multiplications: outputs times contracted elements."""
    left, right = (variable.aval for variable in equation.invars)
    output = equation.outvars[0].aval
    if equation.primitive.name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        return 2.0 * output.size * np.prod([left.shape[axis] for axis in contracted])
    # Convolutions: the kernel's size over its output channels.
    channels = right.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    return 2.0 * output.size * right.size / channels
