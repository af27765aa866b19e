"""Versions, devices and drivers."""

import os
import subprocess
from collections.abc import Callable
from importlib import metadata
from typing import Any

import jax
import jax.extend

from benchmarks import run as benchmarks_run
from benchmarks.device_check.parts import Size
from benchmarks.rows import Report

PACKAGES = ("distrax", "flax", "optax")
SMI = ("nvidia-smi", "--query-gpu=name,driver_version,memory.total,power.limit", "--format=csv")


def run(size: Size) -> Report:
    """The default device, and all that a number may depend on."""
    device = jax.devices()[0]
    facts: dict[str, Callable[[], Any]] = {
        "devices": lambda: [str(each) for each in jax.devices()],
        "platform_version": lambda: jax.extend.backend.get_backend().platform_version,
        "memory_limit_bytes": lambda: (device.memory_stats() or {}).get("bytes_limit"),
        "nvidia_smi": _smi,
        "xla_flags": lambda: os.environ.get("XLA_FLAGS", ""),
        "matmul_precision": lambda: str(jax.config.jax_default_matmul_precision),
        "context": benchmarks_run.context,
        "packages": lambda: {name: metadata.version(name) for name in PACKAGES},
    }
    found = {name: _or_error(fact) for name, fact in facts.items()}
    return Report(details={"platform": device.platform, "device": device.device_kind, **found})


def _or_error(fact: Callable[[], Any]) -> Any:
    """What is not known must not keep the check from its size, which follows from the device."""
    try:
        return fact()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _smi() -> list[str]:
    """What the driver says of its devices."""
    done = subprocess.run(SMI, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.splitlines()
