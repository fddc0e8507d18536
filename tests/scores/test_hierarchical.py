"""The bootstrap over seeds and images together, its p, and Holm's correction."""

import numpy as np
import pytest

from jaxcap.scores import bleu, bootstrap, hierarchical


def mean(total):
    """The mean over images of summed rows (value, 1)."""
    return total[..., 0] / total[..., 1]


def bleu_4(total):
    return bleu.from_statistics(total)[..., 3]


def rows(values):
    """Statistics of the mean. [seeds, N] -> [seeds, N, 2]"""
    return np.stack([values, np.ones_like(values)], axis=-1)


def draw(seeds, images, *, between=0.0, gain=0.0, seed=0):
    """Values of images that all seeds share, with a spread of seeds and some noise of each."""
    rng = np.random.default_rng(seed)
    common = np.random.default_rng(99).normal(0, 1, images)
    of_seeds = rng.normal(0, between, (seeds, 1))
    return rows(common + of_seeds + gain + rng.normal(0, 0.1, (seeds, images)))


def test_the_resamples_are_those_of_plain_loops():
    """The same draws, image by image and seed by seed, give the same means."""
    arms = [draw(3, 7, between=1.0), draw(2, 7, between=1.0, seed=1)]
    fast = hierarchical.resample_means(arms, mean, resamples=20, seed=4)
    image_rng = np.random.default_rng(4)
    counts = image_rng.multinomial(7, np.full(7, 1 / 7), size=20)
    for arm, statistics in enumerate(arms):
        drawn = np.random.default_rng((4, 1 + arm)).integers(
            len(statistics), size=(20, len(statistics))
        )
        for resample in range(20):
            images = np.repeat(np.arange(7), counts[resample])
            scores = [statistics[number, images, 0].mean() for number in drawn[resample]]
            assert fast[arm, resample] == pytest.approx(np.mean(scores))


def test_chunks_change_nothing_of_the_draws_of_images(monkeypatch):
    """One seed an arm: only images are drawn, and in chunks they are the same ones."""
    arms = [draw(1, 30), draw(1, 30, seed=1)]
    whole = hierarchical.resample_means(arms, mean, resamples=50)
    monkeypatch.setattr(bootstrap, "_CHUNK", 90)
    np.testing.assert_allclose(hierarchical.resample_means(arms, mean, resamples=50), whole)


def test_a_corpus_score_is_that_of_the_sums_and_not_a_mean_of_images():
    captions = [["a", "dog", "runs", "on", "grass"], ["a", "man", "sits"]] * 3
    references = [[[*caption[:4], "there"]] for caption in captions]
    statistics = bleu.statistics(captions, references)[None]
    means, _ = hierarchical.estimate_means([statistics], bleu_4, resamples=10)
    assert means[0].value == pytest.approx(bleu.from_statistics(statistics[0].sum(0))[3])


def test_seeds_that_differ_widen_the_interval():
    calm, _ = hierarchical.estimate_means([draw(4, 50)], mean, resamples=2000)
    wild, _ = hierarchical.estimate_means([draw(4, 50, between=2.0)], mean, resamples=2000)
    assert wild[0].high - wild[0].low > 2 * (calm[0].high - calm[0].low)
    for one in (*calm, *wild):
        assert one.low < one.value < one.high


def test_images_that_are_hard_for_both_arms_do_not_blur_their_difference():
    """Both arms see the same drawn images, so a small gain on every image stands out of a wide
    spread of images.
    """
    arms = [draw(3, 80), draw(3, 80, gain=0.2, seed=1)]
    means, (gain,) = hierarchical.estimate_means(arms, mean, resamples=4000)
    assert means[0].high > means[1].low  # the arms' own intervals overlap
    assert 0 < gain.low < gain.value < gain.high
    assert gain.value == pytest.approx(means[1].value - means[0].value)
    assert gain.p < 0.01


def test_an_arm_beside_itself_differs_by_chance_alone():
    arm = draw(3, 40, between=0.5)
    _, (none,) = hierarchical.estimate_means([arm, arm], mean, resamples=2000)
    assert none.value == 0 and none.low < 0 < none.high and none.p > 0.5


def test_the_interval_holds_the_truth_almost_as_often_as_it_says():
    """Of 8 crossed seeds and 40 images with means of 0, the 95 % interval holds 0 in 85 to 99 % of
    200 draws; an interval over images alone holds it far less often.
    """
    rng = np.random.default_rng(0)
    held = 0
    held_by_images = 0
    for trial in range(200):
        values = rng.normal(0, 1, (8, 1)) + rng.normal(0, 1, 40) + rng.normal(0, 0.2, (8, 40))
        (both,), _ = hierarchical.estimate_means([rows(values)], mean, resamples=200, seed=trial)
        held += both.low <= 0 <= both.high
        alone = rows(values.mean(0, keepdims=True))
        (images,), _ = hierarchical.estimate_means([alone], mean, resamples=200, seed=trial)
        held_by_images += images.low <= 0 <= images.high
    assert 0.85 <= held / 200 <= 0.99
    assert held_by_images < 0.8 * held


def test_p_counts_both_sides_and_is_never_zero():
    assert hierarchical.p_value(np.full(99, 1.0)) == 2 / 100
    assert hierarchical.p_value(np.full(99, -1.0)) == 2 / 100
    assert hierarchical.p_value(np.array([-1.0] * 9 + [1.0] * 90)) == pytest.approx(20 / 100)
    assert hierarchical.p_value(np.zeros(99)) == 1


@pytest.mark.parametrize(
    ("p_values", "corrected"),
    [
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # R: p.adjust(p, "holm")
        ([0.02], [0.02]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.04, 0.01], [0.04, 0.02]),
        ([], []),
    ],
)
def test_holm(p_values, corrected):
    assert hierarchical.holm(p_values) == pytest.approx(corrected)
