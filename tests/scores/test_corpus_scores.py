"""Corpus scores against coco-caption's, and what every metric must do."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from jaxcap.evaluation import meteor
from jaxcap.scores import bleu, cider, rouge
from jaxcap.scores.tokenizer import tokenize_pairs
from tests.scores.corpora import (
    HYPOTHESES,
    REFERENCES,
    WANTED,
    corpus_scores,
    needs_java,
    nlg_eval,
    random_captions,
)

REAL = os.environ.get("JAXCAP_DATA", "")


def test_corpus_scores_equal_coco_captions_golden_ones():
    result = corpus_scores(*tokenize_pairs(HYPOTHESES, REFERENCES))
    wanted = {name: value for name, value in WANTED["corpus"].items() if name != "METEOR"}
    assert result == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("metric", [rouge, cider])
def test_scores_of_single_images_equal_coco_captions_golden_ones(metric):
    rows = metric.statistics(*tokenize_pairs(HYPOTHESES, REFERENCES))
    np.testing.assert_allclose(
        metric.from_statistics(rows)[:, 0], WANTED["images"][metric.NAMES[0]], atol=1e-9
    )


def test_the_figures_published_by_nlg_eval():
    published = {
        "BLEU-1": 0.55,
        "BLEU-2": 0.428174,
        "BLEU-3": 0.284043,
        "BLEU-4": 0.201143,
        "ROUGE-L": 0.522104,
        "CIDEr-D": 1.242192,
    }
    assert corpus_scores(*nlg_eval()) == pytest.approx(published, abs=1e-6)


def coco_captions():
    """Returns COCO's 5,000 validation images with their captions."""
    images = {}
    for row in json.loads(
        (Path(REAL) / "coco" / "captions_val2017.json").read_text(encoding="utf-8")
    )["annotations"]:
        images.setdefault(str(row["image_id"]), []).append(row["caption"])
    return images


def flickr30k_captions():
    """Returns the 1,000 images of Flickr30k's test list with their captions."""
    names = (Path(REAL) / "flickr30k" / "test_images.txt").read_text(encoding="utf-8").split()
    images = {name: [] for name in names}
    for line in (
        (Path(REAL) / "flickr30k" / "results.csv").read_text(encoding="utf-8").splitlines()[1:]
    ):
        name = line.split("|")[0]
        caption = line.split("|")[-1].strip()
        if name in images:
            images[name].append(caption)
    return images


@pytest.mark.slow
@pytest.mark.real_data
@needs_java
@pytest.mark.skipif(not REAL, reason="JAXCAP_DATA is not set")
@pytest.mark.parametrize(("captions", "count"), [(coco_captions, 5000), (flickr30k_captions, 1000)])
def test_scores_of_real_files_equal_pycocoevalcaps_from_caption_to_score(
    captions, count, monkeypatch
):
    """One caption of each image against its others, each side with its own tokeniser."""
    from pycocoevalcap.bleu.bleu import Bleu
    from pycocoevalcap.cider.cider import Cider
    from pycocoevalcap.meteor.meteor import Meteor
    from pycocoevalcap.rouge.rouge import Rouge
    from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Dfile.encoding=UTF-8")
    images = captions()
    assert len(images) == count
    texts = {name: [{"caption": text} for text in texts] for name, texts in images.items()}
    references = PTBTokenizer().tokenize({name: rows[1:] for name, rows in texts.items()})
    hypotheses = PTBTokenizer().tokenize({name: rows[:1] for name, rows in texts.items()})
    theirs = {
        f"BLEU-{n}": v
        for n, v in enumerate(Bleu().compute_score(references, hypotheses, 0)[0], start=1)
    }
    theirs["ROUGE-L"] = Rouge().compute_score(references, hypotheses)[0]
    theirs["CIDEr-D"] = Cider().compute_score(references, hypotheses)[0]

    ours = (
        {name: rows[0] for name, rows in images.items()},
        {name: rows[1:] for name, rows in images.items()},
    )
    assert corpus_scores(*tokenize_pairs(*ours)) == pytest.approx(theirs, abs=1e-6)
    if count == 1000:
        rows = meteor.statistics(*tokenize_pairs(*ours))
        wanted = Meteor().compute_score(references, hypotheses)[0]
        assert meteor.from_statistics(rows.sum(0))[0] == pytest.approx(wanted, abs=1e-6)


def test_a_caption_equal_to_its_reference_scores_full_marks():
    captions, _ = random_captions(0)
    captions = [
        caption + list("wxyz") for caption in captions
    ]  # BLEU-4 and CIDEr-D need four words
    result = corpus_scores(captions, [[caption] for caption in captions])
    assert result == pytest.approx(
        {**dict.fromkeys((*bleu.NAMES, "ROUGE-L"), 1.0), "CIDEr-D": 10.0}, abs=1e-6
    )


def test_captions_without_a_common_word_score_nothing():
    result = corpus_scores([["x", "y", "z"]] * 5, [[["a", "b", "c"]]] * 5)
    assert all(value == pytest.approx(0, abs=1e-4) for value in result.values())


def test_the_order_of_images_and_of_references_changes_nothing():
    hypotheses, references = random_captions(1)
    order = np.random.default_rng(0).permutation(len(hypotheses))
    turned = [[*texts[1:], texts[0]] for texts in references]
    shuffled = corpus_scores([hypotheses[i] for i in order], [turned[i] for i in order])
    assert shuffled == pytest.approx(corpus_scores(hypotheses, references), abs=1e-12)


def test_an_empty_caption_is_scored_as_nothing():
    result = corpus_scores([[], ["a", "b"]], [[["a", "b"]], [["a", "b"]]])
    assert result["ROUGE-L"] == 0.5 and np.isfinite(list(result.values())).all()
