"""Trains every method, then samples and takes likelihoods.

Run it with `python -m experiments.mnist.run --preset cpu`.
"""

from typing import Any

import jax
import numpy as np

from experiments.common import cli, pieces, results
from experiments.mnist import preprocessing
from experiments.mnist.config import PRESETS, Config
from experiments.mnist.measures import Evaluation, make_evaluation, noise_bits
from experiments.mnist.statistics import headline
from experiments.mnist.train import COMPUTING, Trained, make_model, methods, train


def experiment(config: Config, key: jax.Array) -> results.Result:
    """Arrays by method: losses (method, seed, record), samples and bits of the first seed."""
    key_data, key_model, key_train, key_evaluate = jax.random.split(key, 4)
    data = preprocessing.load(config.images, key_data)
    seeds = [jax.random.fold_in(key_model, seed) for seed in range(config.num_seeds)]
    models = [make_model(config, seed) for seed in seeds]
    evaluate = make_evaluation(config, data, models[0].log_ratio_fn)
    trained: dict[str, list[Trained]] = {}
    evaluated: dict[str, Evaluation] = {}
    for name, method in methods(config).items():
        trained[name] = []
        for seed, model in enumerate(models):
            print(f"mnist: {name}, seed {seed}", flush=True)
            key_seed = jax.random.fold_in(key_train, seed)
            trained[name].append(train(config, data, model, f"{name}-{seed}", method, key_seed))
        print(f"mnist: {name}, samples and likelihood", flush=True)
        evaluated[name] = evaluate(trained[name][0].params, key_evaluate)
    arrays = {"methods": np.array(list(trained)), "noise_bits": np.array(noise_bits(config, data))}
    log_q = data.noise.log_prob(data.test[: config.num_likelihood])
    arrays |= {"test_images": np.asarray(data.test[:64]), "test_log_noise": np.asarray(log_q)}
    arrays |= _stack({name: [_curves(run) for run in runs] for name, runs in trained.items()})
    arrays |= {
        f"eval_{field}": np.array([getattr(evaluation, field) for evaluation in evaluated.values()])
        for field in Evaluation._fields
    }
    folder = pieces.folder("mnist", config, COMPUTING)
    return results.Result(arrays, headline(arrays), pieces=(folder,))


def _curves(run: Trained) -> dict[str, np.ndarray]:
    """Losses and diagnostics of a run by record; `train_num_steps` counts solver evaluations."""
    curves = {
        f"train_{name}": run.history[name] for name in ("step", "loss", "log_partition", "overlap")
    }
    curves["train_num_steps"] = run.history["num_evaluations"]
    curves |= {
        name: run.evaluations[name] for name in ("step", "held_out_loss", "held_out_loss_solved")
    }
    return curves


def _stack(curves: dict[str, list[dict[str, Any]]]) -> dict[str, np.ndarray]:
    names = next(iter(curves.values()))[0]
    return {
        name: np.array([[run[name] for run in runs] for runs in curves.values()]) for name in names
    }


if __name__ == "__main__":
    cli.main("mnist", PRESETS, experiment)
