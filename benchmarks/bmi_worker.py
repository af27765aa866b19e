"""Tasks and estimators of bmi (benchmark-mi), served from the environment of its own that it needs:
it wants an old JAX.

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
    """Answers until stdin ends; whatever else is printed goes to stderr."""
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
    """One line, at once."""
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def draw(bmi, np, *, task, size, seed, path):
    """Samples of a task into a file; its name and its mutual information in nats."""
    found = bmi.BENCHMARK_TASKS[task]
    x, y = found.sample(size, seed)
    np.savez(path, x=np.asarray(x), y=np.asarray(y))
    return {"name": found.name, "truth": float(found.mutual_information)}


def estimate(bmi, np, *, method, path, options):
    """An estimate in nats by one of its estimators, by class name."""
    with np.load(path) as samples:
        x, y = samples["x"], samples["y"]
    return {"value": float(getattr(bmi.estimators, method)(**options).estimate(x, y))}


if __name__ == "__main__":
    main()
