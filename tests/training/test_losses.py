"""Losses against their definitions, and that padding is invisible to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxcap.training.losses import (
    count_positions,
    cross_entropy,
    doubly_stochastic,
    target_mask,
)
from jaxcap.training.objectives import TeacherForcing, measure_loss

B = 2
C = 3
T = 5
V = 11
L = 4


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(B, C, T, V)).astype(np.float32) * 3
    targets = rng.integers(1, V, (B, C, T))
    targets[0, 1, 3:] = 0
    targets[1, 2, :] = 0  # a caption that is not there
    attention = rng.dirichlet(np.ones(L), (B, C, T)).astype(np.float32)
    return logits, jnp.asarray(targets), attention


def test_cross_entropy_by_its_definition(example):
    logits, targets, _ = example
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    expected = [-np.log(probabilities[i][t]) for i, t in np.ndenumerate(np.asarray(targets)) if t]
    total, count = cross_entropy(logits, targets, target_mask(targets))
    np.testing.assert_allclose(total, sum(expected), rtol=1e-5)
    assert count == len(expected)


def test_label_smoothing_by_its_definition(example):
    logits, targets, _ = example
    log_p = np.asarray(jax.nn.log_softmax(logits))
    expected = 0.0
    for i, target in np.ndenumerate(np.asarray(targets)):
        wanted = np.full(V, 0.1 / V)
        wanted[target] += 0.9
        expected -= (wanted * log_p[i]).sum() if target else 0.0
    total, _ = cross_entropy(logits, targets, target_mask(targets), 0.1)
    np.testing.assert_allclose(total, expected, rtol=1e-5)


def test_doubly_stochastic_by_its_definition(example):
    _, targets, attention = example
    expected = 0.0
    regions = 0
    for b in range(B):
        for c in range(C):
            real = np.asarray(targets[b, c]) > 0
            if real.any():
                expected += ((1 - attention[b, c][real].sum(0)) ** 2).sum()
                regions += L
    total, count = doubly_stochastic(attention, target_mask(targets))
    np.testing.assert_allclose(total, expected, rtol=1e-5)
    assert count == regions


def test_padding_is_invisible(example):
    """Whatever stands at padded positions, the sums and their gradients are the same."""
    logits, targets, attention = example
    mask = target_mask(targets)
    noise = (
        np.random.default_rng(1).normal(size=logits.shape).astype(np.float32)
        * (1 - np.asarray(mask))[..., None]
    )

    def sums(logits, attention):
        return cross_entropy(logits, targets, mask, 0.1)[0] + doubly_stochastic(attention, mask)[0]

    plain = jax.value_and_grad(sums)(logits, attention)
    noisy = jax.value_and_grad(sums)(logits + noise, attention + noise[..., :L])
    np.testing.assert_array_equal(plain[0], noisy[0])
    np.testing.assert_array_equal(plain[1], noisy[1])


def test_positions_are_those_of_the_padded_captions_that_are_there(example):
    _, targets, _ = example
    assert count_positions(targets, T + 1) == (B * C - 1) * (T + 1)


def test_the_average_over_positions_is_the_original_loop_over_words(example):
    """Keras's masked loss: the batch's mean at each step, summed, over the padded length."""
    logits, targets, attention = example
    present = np.asarray(targets).any(-1)  # the original's batches hold no empty captions
    log_p = np.asarray(jax.nn.log_softmax(logits))
    expected = 0.0
    for step in range(T):
        of_step = [
            -log_p[b, c, step, targets[b, c, step]] if targets[b, c, step] else 0.0
            for b, c in zip(*np.nonzero(present), strict=True)
        ]
        expected += np.mean(of_step)
    expected /= T + 1
    batch = {"tokens": jnp.pad(targets, ((0, 0), (0, 0), (1, 0)))}
    terms, metrics = TeacherForcing(positions=T + 1)(logits, attention, batch)
    total, count = metrics["loss"]
    np.testing.assert_allclose(total / count, expected, rtol=1e-5)
    np.testing.assert_allclose(terms[0].total / terms[0].count, expected, rtol=1e-5)
    words = measure_loss(logits, batch)["loss"]
    np.testing.assert_array_equal(metrics["word_loss"], words)


def test_huge_logits_stay_finite():
    logits = jnp.array([[[[1e4, -1e4, 0.0]]]])
    total, _ = cross_entropy(logits, jnp.array([[[1]]]), jnp.ones((1, 1, 1)))
    assert total == 2e4
