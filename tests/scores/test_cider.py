"""CIDEr-D one image at a time."""

from jaxcap.scores import cider


def test_captions_scored_one_image_at_a_time_score_the_same():
    """What training is rewarded with is what evaluation finds."""
    references = [
        [["a", "dog", "runs", "in", "snow"], ["two", "dogs", "run"]],
        [["a", "man", "sits"]],
        [["a", "dog", "sits"]],
    ]
    scorer = cider.Scorer(references)
    first = [["a", "dog", "runs"], ["a", "man", "sits"], ["dog"]]
    second = [["two", "dogs"], [], ["a", "dog"]]
    for captions in (first, second):
        wanted = cider.statistics(captions, references)[:, 0]
        assert [scorer(image, [words])[0] for image, words in enumerate(captions)] == list(wanted)
    assert scorer(1, [first[1], second[1]]) == [scorer(1, [first[1]])[0], 0.0]
    assert scorer(1, [first[1]])[0] > 0
