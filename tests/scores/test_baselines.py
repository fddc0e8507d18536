"""The captions of image-agnostic baselines."""

import numpy as np
import pytest

from jaxcap.scores import baselines


def test_the_most_common_caption_wins_and_ties_go_by_the_alphabet():
    assert baselines.most_common_caption([["b"], ["a", "c"], ["b"], ["a", "c"], ["d"]]) == (
        "a",
        "c",
    )


@pytest.mark.parametrize("images", [2, 3, 10, 101])
def test_shuffling_gives_every_image_another_ones_caption(images):
    given = baselines.derange(images, seed=4)
    assert sorted(given) == list(range(images))
    assert all(given != np.arange(images))
    np.testing.assert_array_equal(given, baselines.derange(images, seed=4))


def test_the_nearest_photo_is_that_of_the_greatest_cosine():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(23, 8))
    training = rng.normal(size=(40, 8)) * rng.uniform(0.1, 9, (40, 1))
    cosines = [[a @ b / np.sqrt((a @ a) * (b @ b)) for b in training] for a in features]
    for block in (1, 7, 1000):
        np.testing.assert_array_equal(
            baselines.find_nearest(features, training, block=block), np.argmax(cosines, axis=1)
        )
