"""Headline numbers: final losses in powers of ten below NCE, and likelihood gains in nats."""

import numpy as np


def headline(arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """Final losses in powers of ten below NCE (the claim: 2 to 3), and gains in nats."""
    names = arrays["methods"].tolist()
    log_loss = np.log10(late_median(arrays["held_out_loss"])).mean(axis=1)
    log_train = np.log10(late_median(arrays["train_loss"])).mean(axis=1)
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
    """Log-likelihood above the noise's in nats per test image, and its standard error, by method.

    A few test images with ink where no training image has any dominate the likelihood itself: there
    the Gaussian is off by hundreds of standard deviations, whatever the energy. This cancels in the
    difference.
    """
    log_ratio = arrays["eval_test_log_ratio"]
    spread = log_ratio.std(axis=1, ddof=1) / np.sqrt(log_ratio.shape[1])
    return log_ratio.mean(axis=1) - arrays["eval_log_partition"], np.hypot(
        spread, arrays["eval_standard_error"]
    )


def late_median(losses: np.ndarray) -> np.ndarray:
    """Median of the last fifth of the records, at least 1e-12.

    Losses of single batches vary by orders of magnitude.
    """
    tail = losses[..., -max(losses.shape[-1] // 5, 1) :]
    return np.maximum(np.median(tail, axis=-1), 1e-12)
