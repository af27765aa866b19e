"""The blocks of the pages how to run, and do what the pages say.

Blocks whose packages are not in requirements.lock are left out here, and run by `make migration`.
"""

import numpy as np
import pytest

from tests import pages

FOLDER = pages.ROOT / "docs" / "how_to"
# Expressions that are true after the blocks of the page; a name before the colon is a package that
# the expression needs.
TRUE = {
    "own_model": [
        "result.history['loss'][-1] < 1.0",
        "train_model(linen_model).history['loss'][-1] < 1.0",
        "train_model(plain_model).history['loss'][-1] < 1.0",
        "equinox: train_model(eqx_model).history['loss'][-1] < 1.0",
        "haiku: train_model(haiku_model).history['loss'][-1] < 1.0",
    ],
    "noise": ["len(overlaps) >= 2", "all(0.5 < o < 1.5 for o in overlaps.values())"],
    "input_pipelines": ["result.state.step == 40"],
    "logging": [
        "result.evaluations['held_out_loss'][-1] < 1.386",
        "optuna: 0.001 < study.best_params['rate'] < 0.1",
    ],
    "checkpoints": [
        "state.step == 40",
        "jax.tree.all(jax.tree.map(np.array_equal, kept, from_orbax))",
        "jax.tree.all(jax.tree.map(np.array_equal, kept, from_pickle))",
        "safetensors: jax.tree.all(jax.tree.map(np.array_equal, kept, from_safetensors))",
    ],
    "devices": [
        "mesh.size == jax.device_count() == 8",
        "abs(loss / losses.clip_loss(x, y) - 1) < 1e-5",
    ],
    "arviz": [
        # k = 4 of 1 / sqrt(2,000 effective samples), which 8,000 draws of MALA exceed here.
        "abs(chains.trajectory.mean() - 1) < 0.09",
        "arviz: summary['r_hat'].max() < 1.02",
        "arviz: summary['ess_bulk'].min() > 1000",
    ],
}
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index")


@pytest.mark.costly
@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_the_page_run(page):
    expressions = []
    for expression in TRUE[page]:
        package, separator, code = expression.partition(": ")
        if not separator:
            expressions.append(expression)
        elif pages.is_complete() or not pages.missing((package,)):
            expressions.append(code)
    values = pages.run(f"how_to/{page}.md", expressions)
    assert [
        name for name, value in zip(expressions, values, strict=True) if not np.all(value)
    ] == []


@pytest.mark.parametrize("page", PAGES)
def test_the_page_states_its_task_and_what_to_watch_for(page):
    text = (FOLDER / f"{page}.md").read_text()
    assert text.split("\n\n")[1].startswith("The task: ")
    assert "\nWatch for:\n" in text
    assert f"]({page}.md)" in (FOLDER / "index.md").read_text()
