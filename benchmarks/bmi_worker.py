"""Serves tasks and estimators of bmi (benchmark-mi) from an environment with an older JAX.

`PYTHON benchmarks/bmi_worker.py` reads a request per line on stdin and answers with a line on
stdout, both JSON. It imports nothing of ours: another interpreter runs it, in which neither nce_jax
nor the other benchmarks exist.
"""

import json
import os
import sys
import time
import warnings


def main():
    """Answers requests until stdin ends; other output goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    import bmi
    import jax
    import numpy as np

    versions = {"jax": jax.__version__, "numpy": np.__version__, "python": sys.version.split()[0]}
    say(answers, versions=versions)
    for line in sys.stdin:
        request = json.loads(line)
        answer = {"draw": draw, "estimate": estimate}[request.pop("do")](bmi, np, **request)
        say(answers, **answer, processor_seconds=time.process_time())


def say(answers, **answer):
    """Writes one line and flushes it."""
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def draw(bmi, np, *, task, size, seed, path):
    """Draws samples of a task into a file; returns its name and mutual information in nats."""
    benchmark_task = bmi.BENCHMARK_TASKS[task]
    x, y = benchmark_task.sample(size, seed)
    np.savez(path, x=np.asarray(x), y=np.asarray(y))
    return {"name": benchmark_task.name, "truth": float(benchmark_task.mutual_information)}


def estimate(bmi, np, *, method, path, options):
    """Estimate in nats by one of its estimators, given by class name."""
    with np.load(path) as samples:
        x, y = samples["x"], samples["y"]
    return {"value": float(getattr(bmi.estimators, method)(**options).estimate(x, y))}


if __name__ == "__main__":
    main()
