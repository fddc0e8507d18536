"""A result, metrics and photos to report, and a page taken apart again."""

import dataclasses
import math
from html.parser import HTMLParser

import numpy as np

from jaxcap import report
from jaxcap.evaluation.result import (
    Baseline,
    DataInfo,
    Health,
    Parameters,
    Result,
    RunInfo,
    SceneObjects,
    Search,
)
from jaxcap.report import page
from jaxcap.scores.grounding import NAMES
from jaxcap.scores.health import Phrase, Summary
from jaxcap.scores.intervals import Estimate

EVIL = '<script>document.title = "broken out"</script>'
EVIL_QUOTE = '"><img src=x onerror="document.title=1">'
LONG = "x" * 300


def photo(
    name="1.jpg",
    words=("a", "dog", "runs"),
    regions=(5, 44, 24),
    score=0.5,
    size=224,
    seed=None,
    references=(),
    grid=(7, 7),
):
    """A grey photo, or one of noise; each word's attention lies on one region."""
    count = grid[0] * grid[1]
    attention = np.full((len(words), count), 0.001, np.float32)
    attention[range(len(words)), regions[: len(words)]] = 1 - 0.001 * (count - 1)
    if seed is None:
        image = np.full((size, size, 3), 128, np.uint8)
    else:
        image = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    probabilities = np.linspace(0.9, 0.3, len(words))
    return report.CaptionedPhoto(
        id=name,
        image=image,
        words=list(words),
        attention=attention,
        grid=grid,
        probabilities=probabilities,
        references=tuple(references),
        score=score,
    )


def estimate(value, width=0.02):
    return Estimate(value, value - width, value + width)


def result():
    """A result with something hostile or overlong wherever a text can come from outside."""
    summary = Summary(
        distinct_words=1612,
        mean_length=9.6,
        unique=0.874,
        repeats_2=0.031,
        repeats_3=0.01,
        repeats_4=0.0,
        stutters=0.0,
        ends_in_function_word=0.02,
        empty=0.0,
    )
    grounding = {name: estimate(0.8) for name in NAMES}
    return Result(
        jaxcap="0.1.0",
        signature=f"data:{EVIL}|split:val|{LONG}",
        run=RunInfo(
            workdir=f"checkpoints/{EVIL}",
            folder=f"/checkpoints/{EVIL}",
            config={
                "seed": 0,
                "data": {"name": EVIL, "dir": f"/{LONG}"},
                "train": {"epochs": 12},
            },
            vocabulary_size=2543,
            vocabulary="0123abcd",
            encoder=EVIL,
            parameters=Parameters(trained=8123456, frozen=0),
            step=1128,
            epoch=12,
            val_loss=2.831,
        ),
        data=DataInfo(
            name=EVIL,
            dir="",
            split="val",
            images=1000,
            references=5000,
            ids="1f",
            photos="2e",
            captions="3d",
            trained_on=0,
        ),
        search=Search(
            beam=5,
            max_length=20,
            min_length=0,
            length_normalization=0.0,
            unk=False,
            no_repeat_ngram=0,
        ),
        level=0.95,
        scores={
            "BLEU-4": estimate(0.226),
            "CIDEr-D": estimate(0.5721),
            "METEOR": Estimate(math.nan, math.nan, math.nan),
        },
        baselines=(Baseline("most common", EVIL, {"BLEU-4": estimate(0.1234)}),),
        health=Health(
            captions=dataclasses.replace(summary, novel=0.923),
            references=summary,
            overused=(
                Phrase("in a blue shirt", 61, 0.061, 0.0102, 11.2),
                Phrase(EVIL, 61, 0.061, 0.0, 11.2),
            ),
        ),
        attention={
            "entropy": estimate(0.7),
            "change": estimate(0.2),
            "centre_bias": estimate(-0.1),
            **grounding,
        },
        scenes=SceneObjects(right=3, total=4),
        notes=(EVIL,),
    )


def metrics(best=3, epochs=5):
    records = [
        {"step": s, "epoch": s / 8, "split": "train", "loss": 2 + 6 / s}
        for s in range(1, 8 * epochs + 1)
    ]
    losses = {epoch: 2.5 + 0.1 * abs(epoch - best) for epoch in range(1, epochs + 1)}
    return records + [
        {"step": 8 * e, "epoch": e, "split": "val", "loss": loss} for e, loss in losses.items()
    ]


def photos():
    return [
        photo("good.jpg", score=1.5, references=["a brown dog runs .", EVIL]),
        photo(EVIL_QUOTE, (EVIL, EVIL_QUOTE, LONG), score=0.1),
        photo("blank.jpg", (), score=0.0),
    ]


class Parsed(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def count(self, tag):
        return sum(tag == name for name, _ in self.elements)


def parsed(*arguments):
    return Parsed(page.render(*arguments).decode())
