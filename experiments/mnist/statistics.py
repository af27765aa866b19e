"""Headline numbers: final losses in powers of ten below NCE, and likelihood gains in nats."""

import numpy as np


def headline(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Losses at the end, in powers of ten below base NCE (the claim: 2 to 3), mean over seeds;
    gains in nats.
    """
    names = arrays["methods"].tolist()
    log_loss = np.log10(late(arrays["held_out_loss"])).mean(axis=1)
    log_train = np.log10(late(arrays["train_loss"])).mean(axis=1)
    base = names.index("NCE")
    numbers = {"noise_bits": float(arrays["noise_bits"])}
    for row, name in enumerate(names):
        label = name.replace(", ", "_").replace(" = ", "").replace(" ", "_")
        if row != base and not name.startswith("Newton, M"):
            numbers[f"orders_below_NCE_{label}"] = float(log_loss[base] - log_loss[row])
            numbers[f"orders_below_NCE_train_{label}"] = float(log_train[base] - log_train[row])
        numbers[f"gain_{label}"] = float(gains(arrays)[0][row])
    return numbers


def gains(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Nats per test image above the noise's own log-likelihood, and their standard error, by
    method.

    The likelihood itself is ruled by a few test images with ink where no training image has any:
    there the Gaussian is off by hundreds of standard deviations, whatever the energy. In the
    difference that cancels.
    """
    log_ratio = arrays["eval_test_log_ratio"]
    spread = log_ratio.std(axis=1, ddof=1) / np.sqrt(log_ratio.shape[1])
    return log_ratio.mean(axis=1) - arrays["eval_log_partition"], np.hypot(
        spread, arrays["eval_standard_error"]
    )


def late(losses: np.ndarray) -> np.ndarray:
    """Median over the last fifth of the records, and at least 1e-12: single batches scatter over
    orders of magnitude.
    """
    tail = losses[..., -max(losses.shape[-1] // 5, 1) :]
    return np.maximum(np.median(tail, axis=-1), 1e-12)
