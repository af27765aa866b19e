"""The two sides of every page on migration give the same numbers.

Pages whose packages are not in requirements.lock are skipped here, and run by `make migration`.
"""

import re

import numpy as np
import pytest

from tests import pages

# Page, expression of the other package, of ours, and the tolerance with its reason.
PAIRS = [
    # Two solvers of one equation in float64, each to its own tolerance.
    ("pymbar", "theirs['Delta_f']", "ours.delta_f", 1e-9),
    ("pymbar", "theirs['dDelta_f']", "ours.standard_error", 1e-9),
    ("pymbar", "differences['Delta_f']", "result.delta_f", 1e-9),
    ("pymbar", "differences['dDelta_f']", "result.standard_error", 1e-6),
    ("pymbar", "mbar.compute_overlap()['scalar']", "result.gap", 1e-9),
    ("pymbar", "mbar.compute_overlap()['matrix']", "result.overlap", 1e-9),
    ("pymbar", "mean['mu']", "expectations.value", 1e-9),
    ("pymbar", "mean['sigma']", "expectations.standard_error", 1e-6),
    ("pymbar", "surface['f_i']", "profile.f", 1e-9),
    ("pymbar", "surface['df_i']", "profile.standard_error", 1e-6),
    ("pymbar", "pymbar.exp(work_forward)['Delta_f']", "-exponential.log_partition", 1e-9),
    ("pymbar", "pymbar.exp(work_forward)['dDelta_f']", "exponential.standard_error", 1e-3),
    ("alchemlyb", "theirs.delta_f_", "ours.delta_f_", 1e-9),
    ("alchemlyb", "theirs.d_delta_f_", "ours.d_delta_f_", 1e-6),
    ("alchemlyb", "their_chain.delta_f_", "our_chain.delta_f_", 1e-9),
    # Rounding in float32.
    ("optax", "theirs", "ours", 1e-5),
    ("optax", "their_gradient", "jnp.concatenate(our_gradient)", 1e-6),
    ("optax", "theirs_labeled", "ours_labeled", 1e-5),
    ("open_clip", "theirs.item()", "ours", 1e-5),
    ("open_clip", "theirs.item()", "ours_split", 1e-5),
    ("open_clip", "theirs_sigmoid.item()", "ours_sigmoid", 1e-5),
    ("tensorflow", "theirs_nce", "ours_nce", 1e-5),
    ("tensorflow", "theirs_softmax", "ours_softmax", 1e-5),
    ("ebmkit", "theirs", "ours", 1e-5),
    # Estimates: the errors are those that the pages state.
    ("ebmkit", "theirs_mean", "x_data.mean(axis=0)", 0.1),
    ("ebmkit", "x_data.mean(axis=0)", "ours_mean", 0.1),
    ("ebmkit", "theirs_log_z", "np.log(2 * np.pi)", 0.1),
    ("ebmkit", "np.log(2 * np.pi)", "ours_log_z", 0.1),
    ("torchebm", "theirs_mean", "x_data.mean(axis=0)", 0.15),
    ("torchebm", "x_data.mean(axis=0)", "ours_mean", 0.15),
    # k = 4 of 1.25 sqrt(2 / 20,000).
    ("torchebm", "theirs_variance", "1.25", 0.05),
    ("torchebm", "1.25", "ours_variance", 0.05),
    ("sbi", "theirs", "exact", 0.3),
    ("sbi", "exact", "ours", 0.2),
    ("sbi", "1 / 4", "posterior_mean", 0.1),
    ("sbi", "1 / 2", "posterior_variance", 0.1),
    ("sbi", "samples.mean().item()", "1 / 4", 0.25),
    ("scikit_learn", "theirs", "exact", 0.15),
    ("scikit_learn", "exact", "ours", 0.15),
    ("scikit_learn", "theirs", "ours", 0.01),
    ("scikit_learn", "theirs", "by_estimator", 0.05),
    ("scikit_learn", "x_data.mean()", "shifted_mean", 0.1),
    # Each within 3 standard errors of a mean over 500 and 800 rows.
    ("scikit_learn", "target['age'].mean()", "weighted_age", 1.7),
    ("scikit_learn", "(target['region'] == 'west').mean()", "weighted_west", 0.08),
    ("scikit_learn", "their_intercept", "our_intercept", 1e-5),
    ("densratio", "theirs", "exact", 0.2),
    ("densratio", "exact", "ours", 0.2),
]
FOLDER = pages.ROOT / "docs" / "migration"
PAGES = sorted(path.stem for path in FOLDER.glob("*.md") if path.stem != "index")


def needs(page: str) -> tuple[str, ...]:
    text = (FOLDER / f"{page}.md").read_text()
    return tuple(sorted({name for block in pages.blocks(text) for name in block.needs}))


@pytest.mark.costly
@pytest.mark.parametrize("page", PAGES)
def test_both_sides_of_the_page_agree(page):
    absent = pages.missing(needs(page))
    if absent and not pages.is_complete():
        pytest.skip(f"{', '.join(absent)}: run by make migration")
    pairs = [pair[1:] for pair in PAIRS if pair[0] == page]
    assert pairs
    theirs = [pair[0] for pair in pairs]
    ours = [pair[1] for pair in pairs]
    values = pages.run(f"migration/{page}.md", theirs + ours)
    for their, our, (name, _, tolerance) in zip(
        values[: len(pairs)], values[len(pairs) :], pairs, strict=True
    ):
        their, our = np.array(their), np.array(our)
        np.testing.assert_allclose(our, their, rtol=tolerance, atol=tolerance, err_msg=name)


def test_every_pair_belongs_to_a_page():
    assert {pair[0] for pair in PAIRS} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_has_both_sides_a_table_and_says_when_to_stay(page):
    text = (FOLDER / f"{page}.md").read_text()
    assert len(re.findall(r"^:::\{tab-item\} (?!nce_jax$)", text, re.MULTILINE)) == len(
        re.findall(r"^:::\{tab-item\} nce_jax$", text, re.MULTILINE)
    )
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings[-1].startswith("When to stay with ")
    assert "Names and conventions" in headings
    assert f"]({page}.md)" in (FOLDER / "index.md").read_text()


@pytest.mark.costly
def test_the_losses_of_sbi_have_the_factors_of_the_page(tmp_path, monkeypatch):
    """On the same logits, for each of its four losses."""
    if pages.missing(("sbi", "torch")) and not pages.is_complete():
        pytest.skip("sbi: run by make migration")
    monkeypatch.chdir(tmp_path)  # sbi writes logs
    import torch
    from sbi.inference import BNRE, NRE_A, NRE_B, NRE_C

    from nce_jax import losses

    rng = np.random.default_rng(0)
    joint = rng.normal(size=(6, 4)).astype(np.float32)  # s_1 of the pair, and of three others
    marginal = rng.normal(size=(6, 5)).astype(np.float32)
    logits = {size: torch.tensor(marginal[:, :size].reshape(-1, 1)) for size in (2, 5)}
    logits[4] = torch.tensor(joint.reshape(-1, 1))
    rows = torch.zeros(6, 1)

    def theirs(kind, num_atoms, **options):
        trainer = kind(torch.distributions.MultivariateNormal(torch.zeros(1), torch.eye(1)))
        trainer._classifier_logits = lambda theta, x, num_atoms: logits[num_atoms]
        return trainer._loss(rows, rows, num_atoms, **options).item()

    s, other = marginal[:, 0], marginal[:, 1]
    np.testing.assert_allclose(theirs(NRE_A, 2), losses.nre_a_loss(s, other) / 2, rtol=1e-5)
    np.testing.assert_allclose(theirs(NRE_B, 5), losses.nre_b_loss(s, marginal[:, 1:]), rtol=1e-5)
    ours = losses.nre_c_loss(
        joint[:, 0], marginal[:, 1:], log_ratio_contrast=joint[:, 1:], gamma=2.0
    )
    np.testing.assert_allclose(theirs(NRE_C, 5, gamma=2.0), ours, rtol=1e-5)
    ours = losses.balanced_nre_loss(s, other, strength=200.0) / 2
    np.testing.assert_allclose(theirs(BNRE, 2, regularization_strength=100.0), ours, rtol=1e-5)
