"""Settings. All are our choice: the paper aligns models of 7 billion parameters."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """One run of the experiment."""

    num_seeds: int = 5
    """Number of seeds: of the problem or the prompts, of the answers and their order."""
    magnifications: tuple[float, ...] = (0.3, 1.0, 10.0, 100.0)
    """Values of M; 1 is the paper's."""
    methods: tuple[str, ...] = (
        "DPO", "Bradley-Terry", "InfoNCA", "NCA, F = 0", "NCA, F learned", "NCA, F per prompt",
    )  # fmt: skip
    """The losses, by the names in `methods.METHODS`."""
    num_checkpoints: int = 3
    """Number of steps at which a policy is measured, evenly spaced."""

    num_prompts: int = 16
    """Number of prompts of the tabular policy."""
    num_choices: int = 64
    """Number of answers that there are to a prompt."""
    num_answers: tuple[int, ...] = (2, 4, 16)
    """K, answers to each prompt that are drawn afresh at every step; even numbers."""
    temperature: float = 1.0
    """alpha beta: the best policy is proportional to reference exp(reward / temperature)."""
    betas: tuple[float, ...] = (1.0, 0.5)
    """Values of beta, by which log ratios are multiplied; alpha = temperature / beta."""
    num_steps: int = 1500
    """Number of steps of the tabular policy."""
    learning_rate: float = 0.03
    """Learning rate of Adam of the tabular policy and its F, decayed to zero on a cosine."""

    width: int = 64
    """Width of the language model, a gated recurrent unit."""
    prompt_length: int = 16
    """Characters of a prompt."""
    answer_length: int = 24
    """Characters of an answer."""
    reference_steps: int = 2000
    """Number of steps in which the reference learns the text."""
    reference_batch: int = 64
    """Number of sequences per step of it."""
    reference_rate: float = 5e-3
    """Learning rate of Adam of the reference, decayed to zero on a cosine."""
    pool_size: int = 512
    """Number of prompts with answers of the reference to train on."""
    pool_answers: tuple[int, ...] = (4,)
    """K, answers of the reference to each of these prompts; even numbers."""
    sequences: int = 32
    """Number of answers per step: with more answers to a prompt, fewer prompts."""
    align_steps: int = 150
    """Number of steps of the policy."""
    align_rate: float = 1e-3
    """Learning rate of Adam of the policy and its F, decayed to zero on a cosine."""
    alpha: float = 0.03
    """Temperature of the rewards of texts, with beta = 1."""
    test_prompts: int = 128
    """Number of prompts to measure on, of other text than those trained on."""
    test_answers: int = 4
    """Number of answers of the policy to each of them."""
    reference_answers: int = 128
    """Number of answers of the reference to each of them, which tell what can be reached."""
    seed: int = 0
    """Seed of all random numbers."""


PRESETS = {
    "paper": Config(),
    "smoke": Config(
        num_seeds=2,
        magnifications=(1.0, 100.0),
        methods=("DPO", "InfoNCA", "NCA, F per prompt"),
        num_checkpoints=2,
        num_prompts=3,
        num_choices=8,
        num_answers=(2,),
        num_steps=20,
        width=8,
        prompt_length=4,
        answer_length=4,
        reference_steps=10,
        reference_batch=4,
        pool_size=8,
        pool_answers=(4,),
        sequences=8,
        align_steps=4,
        test_prompts=4,
        test_answers=2,
        reference_answers=8,
    ),
}
