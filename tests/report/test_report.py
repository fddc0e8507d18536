"""The report: what stands on the page, that nothing can break out of it, and that it works in a
real browser.
"""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from jaxcap import report
from jaxcap.report import curves, gallery, markup, page, tables

EVIL = '<script>document.title = "broken out"</script>'
EVIL_QUOTE = '"><img src=x onerror="document.title=1">'
LONG = "x" * 300


def photo(
    id="1.jpg",
    words=("a", "dog", "runs"),
    regions=(5, 44, 24),
    score=0.5,
    size=224,
    seed=None,
    references=(),
):
    """A grey photo, or one of noise; each word's attention lies on one region."""
    attention = np.full((len(words), 49), 0.001, np.float32)
    attention[range(len(words)), regions[: len(words)]] = 1 - 0.048
    if seed is None:
        image = np.full((size, size, 3), 128, np.uint8)
    else:
        image = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
    probabilities = np.linspace(0.9, 0.3, len(words))
    return report.Photo(id, image, list(words), attention, probabilities, tuple(references), score)


def estimate(value, width=0.02):
    return {"value": value, "low": value - width, "high": value + width}


def result():
    """What an evaluation says, with something hostile or overlong wherever a text can come from
    outside.
    """
    health = {
        "distinct_words": 1612,
        "mean_length": 9.6,
        "unique": 0.874,
        "repeats_2": 0.031,
        "empty": 0.0,
    }
    phrase = {"captions": 61, "rate": 0.061, "reference_rate": 0.0102, "z": 11.2}
    return {
        "jaxcap": "0.1.0",
        "signature": f"data:{EVIL}|split:val|{LONG}",
        "run": {
            "workdir": f"checkpoints/{EVIL}",
            "config": {
                "seed": 0,
                "data": {"name": EVIL, "dir": f"/{LONG}"},
                "train": {"epochs": 12},
            },
            "parameters": {"trained": 8123456},
            "step": 1128,
            "epoch": 12.0,
            "val_loss": 2.831,
        },
        "data": {"name": EVIL, "split": "val", "images": 1000, "references": 5000},
        "search": {"beam": 5, "unk": False},
        "level": 0.95,
        "scores": {
            "BLEU-4": estimate(0.226),
            "CIDEr-D": estimate(0.5721),
            "METEOR": {"value": None},
        },
        "baselines": [
            {"name": "most common", "about": EVIL, "scores": {"BLEU-4": estimate(0.1234)}}
        ],
        "health": {
            "captions": health | {"novel": 0.923},
            "references": health,
            "overused": [
                phrase | {"words": "in a blue shirt"},
                phrase | {"words": EVIL, "reference_rate": 0.0},
            ],
        },
        "attention": {
            "entropy": estimate(0.7),
            "centre_bias": estimate(-0.1),
            "pointing": estimate(0.8),
        },
        "scenes": {"right": 3, "total": 4},
        "notes": [EVIL],
    }


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
        self.elements, self.text = [], ""
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


@pytest.fixture(scope="module")
def whole():
    return parsed(result(), metrics(), photos())


def test_nothing_from_outside_becomes_part_of_the_page(whole):
    """Captions, ids, references, phrases, notes and config appear as the text that they are."""
    assert whole.count("script") == 1
    assert whole.count("img") == 3
    assert not any(name.startswith("on") for _, attributes in whole.elements for name in attributes)
    assert whole.text.count(EVIL) >= 8
    assert EVIL_QUOTE in whole.text
    assert any(label.startswith(EVIL_QUOTE) for label in whole.attributes("aria-label"))


def test_the_page_names_nothing_outside_itself(whole):
    assert all(address.startswith("data:") for address in whole.attributes("src"))
    assert all(address.startswith(("#", "data:")) for address in whole.attributes("href"))
    assert not whole.attributes("style")  # which the page's policy would refuse
    assert not re.search(
        r"url\((?!#)|@import|https?:", page._file("page.css") + page._file("page.js")
    )


def test_the_policy_allows_this_style_and_this_script_alone(whole):
    policy = next(value for value in whole.attributes("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    changed = page._hash(page._file("page.js") + " ")
    assert page._hash(page._file("page.js")) in policy
    assert changed not in policy


def test_every_link_of_the_page_leads_somewhere(whole):
    assert {link for link in whole.attributes("href") if link.startswith("#")} <= {
        f"#{id}" for id in whole.attributes("id")
    }


def test_scores_stand_times_100_with_their_intervals_and_baselines(whole):
    for text in (
        "57.2",
        "55.2 – 59.2",
        "22.6",
        "20.6 – 24.6",
        "12.3",
        "95% interval",
        "1,000 photos",
        "75.0 %",
    ):
        assert text in whole.text
    assert "never written" in whole.text  # a phrase that no reference has
    assert "nan" not in whole.text.lower()
    assert "None" not in whole.text


@pytest.mark.parametrize(
    "kept", [(), ("scores",), ("health",), ("attention",), ("run",), ("data", "search")]
)
def test_sections_that_are_not_there_are_left_out(kept):
    """Any part of a result makes a page without an empty section."""
    part = {key: value for key, value in result().items() if key in kept}
    some = parsed(part, [], [])
    assert (
        some.count("section")
        == some.count("h2")
        == (0 if kept in ((), ("data", "search")) else 1) + ("search" in kept)
    )


def test_of_very_many_photos_the_best_the_middle_and_the_worst_are_shown():
    many = [photo(f"{i:03}.jpg", score=i / 100) for i in range(100)]
    best, middle, worst = (
        [round(100 * each.score) for each in part]
        for part in gallery.chosen(many[50:] + many[:50], 12)
    )
    assert best == [99, 98, 97, 96]
    assert middle == [51, 50, 49, 48]
    assert worst == [0, 1, 2, 3]


@pytest.mark.parametrize("count", range(8))
def test_a_small_gallery_shows_every_photo_once(count):
    many = [photo(f"{i}.jpg", score=i % 3) for i in range(count)]
    assert sorted(each.id for part in gallery.chosen(many) for each in part) == [
        f"{i}.jpg" for i in range(count)
    ]


def test_a_gallery_of_large_noise_stays_below_15_megabytes(tmp_path):
    """The hardest photos to compress there are, far larger than an encoder's, and more than can be
    shown.
    """
    noise = photo(size=600, seed=0)
    report.write(
        tmp_path / "report.html",
        result(),
        metrics(),
        [noise._replace(id=f"{i}.jpg") for i in range(60)],
    )
    assert 5e6 < (tmp_path / "report.html").stat().st_size < 15e6


def test_a_page_that_grows_too_large_shows_fewer_photos(tmp_path, monkeypatch):
    monkeypatch.setattr(page, "MOST_BYTES", 120_000)
    report.write(
        tmp_path / "report.html", {}, [], [photo(f"{i}.jpg", seed=i, score=i) for i in range(48)]
    )
    shown = Parsed((tmp_path / "report.html").read_text())
    assert (tmp_path / "report.html").stat().st_size <= 120_000
    assert 1 <= shown.count("img") < 48
    assert "47.jpg" in shown.text


def test_photos_are_inlined_as_jpeg_and_never_enlarged():
    for size, expected in ((224, 224), (900, 448)):
        (source,) = Parsed(gallery.card(photo(size=size, seed=1))).attributes("src")
        head, data = source.split(",")
        picture = Image.open(io.BytesIO(base64.b64decode(data)))
        assert (head, picture.format, picture.size) == (
            "data:image/jpeg;base64",
            "JPEG",
            (expected, expected),
        )


def test_words_carry_their_attention_on_one_scale_for_the_sentence():
    attention = np.full((2, 49), 1 / 49)
    attention[0] = 0.5 / 48
    attention[0, 8] = 0.5
    drawn = Parsed(gallery.card(photo(words=("a", "dog"))._replace(attention=attention)))
    first, second = (
        np.frombuffer(base64.b64decode(text), np.uint8) for text in drawn.attributes("data-light")
    )
    assert (first.argmax(), first.max(), len(first)) == (8, 255, 49)
    assert set(second) == {round(255 / 49 / 0.5)}
    assert "a: 90 % sure, upper left, 24.5× even" in drawn.attributes("aria-label")


@pytest.mark.parametrize(
    ("region", "place"), [(0, "upper left"), (24, "centre"), (27, "right"), (45, "bottom")]
)
def test_the_place_of_the_attention_is_said(region, place):
    drawn = Parsed(gallery.card(photo(words=("dog",), regions=(region,))))
    assert f"dog: 90 % sure, {place}, 46.6× even" in drawn.attributes("aria-label")


@pytest.mark.parametrize("shape", [(2, 49), (3, 48), (49,)])
def test_attention_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path, shape):
    with pytest.raises(ValueError, match=r"1\.jpg: attention of shape .* for 3 words"):
        report.write(tmp_path / "report.html", {}, [], [photo()._replace(attention=np.ones(shape))])
    assert not list(tmp_path.iterdir())


def test_the_lowest_validation_is_ringed_and_named():
    drawn = curves.curves(metrics(best=3))
    assert "lowest: 2.500 after epoch 3" in drawn
    assert "to its lowest, 2.500, after epoch 3" in drawn
    shown = Parsed(drawn).elements
    ring = next(attributes for _, attributes in shown if attributes.get("class") == "ring")
    dots = [
        attributes for name, attributes in shown if name == "circle" and "class" not in attributes
    ]
    lowest = max(dots[:5], key=lambda dot: float(dot["cy"]))  # y grows downwards
    assert (ring["cx"], ring["cy"]) == (lowest["cx"], lowest["cy"])


@pytest.mark.parametrize(
    "records",
    [
        [{"split": "train", "epoch": 0.01, "loss": 3.0}],
        [{"split": "val", "epoch": 1, "loss": 3.0}],
        [{"split": "train", "epoch": 0.5, "loss": None}, {"split": "val", "epoch": 1, "loss": 3.0}],
        [{"split": "train", "epoch": e / 10, "loss": 3.0} for e in range(1, 5000)],
    ],
    ids=["one step", "one epoch", "a loss that is none", "constant"],
)
def test_curves_of_any_run_stay_inside_their_figure(records):
    drawn = Parsed(curves.curves(records))
    assert drawn.count("svg") == 2
    points = [pair.split(",") for line in drawn.attributes("points") for pair in line.split()]
    points += [pair for pair in zip(drawn.attributes("cx"), drawn.attributes("cy"), strict=True)]
    assert points
    assert len(points) < 6000
    assert all(0 <= float(x) <= 760 and 0 <= float(y) <= 320 for x, y in points)


def test_without_a_loss_there_is_no_curve():
    assert curves.curves([]) is None
    assert curves.curves([{"split": "val", "epoch": 1, "loss": None}]) is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (2.61, 2.63), (0, 0.004), (1.5, 11), (-3, 7)])
def test_ticks_are_few_round_numbers_around_the_range(low, high):
    ticks = curves._ticks(low, high, 5)
    assert ticks[0] <= low < high <= ticks[-1]
    assert 3 <= len(ticks) <= 8
    assert len({f"{tick:g}" for tick in ticks}) == len(ticks)


def test_a_bar_ends_where_its_value_stands():
    drawn = Parsed(tables._bar(estimate(0.5, 0.1), [{"value": 0.25}], most=1.0))
    assert "50.00%" in drawn.attributes("width")
    assert {"25.00%", "40.00%", "60.00%"} <= set(drawn.attributes("x1"))


@pytest.mark.parametrize(
    ("value", "said"), [(None, "–"), (float("nan"), "–"), (-0.5, "−0.5"), (12, "12.0")]
)
def test_numbers_are_written_for_readers(value, said):
    assert markup.number(value) == said
