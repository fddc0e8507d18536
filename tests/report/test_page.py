"""The page: what stands on it, and that nothing can break out of it."""

import dataclasses
import math
import re

import numpy as np
import pytest

from jaxcap import report
from jaxcap.report import page
from jaxcap.scores.intervals import Estimate
from tests.report.pages import EVIL, EVIL_QUOTE, Parsed, metrics, parsed, photo, photos, result


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
        r"url\((?!#)|@import|https?:", page._read("page.css") + page._read("page.js")
    )


def test_the_policy_allows_this_style_and_this_script_alone(whole):
    policy = next(value for value in whole.attributes("content") if "default-src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    changed = page._hash(page._read("page.js") + " ")
    assert page._hash(page._read("page.js")) in policy
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


def test_parts_that_are_not_there_are_left_out(whole):
    """Without photos, metrics, baselines and phrases, and of photos instead of scenes."""
    full = result()
    health = dataclasses.replace(full.health, overused=())
    some = dataclasses.replace(full, baselines=(), health=health, scenes=None, notes=())
    page = parsed(some, [], [])
    assert whole.count("section") == whole.count("h2") == 6
    assert page.count("section") == page.count("h2") == 4
    assert "Even map" in whole.text and "Even map" not in page.text
    assert "never written" in whole.text and "never written" not in page.text


def test_what_is_not_known_is_a_dash_or_left_out():
    """As the novelty without training data, and the loss of a run without validation."""
    full = result()
    summary = dataclasses.replace(full.health.captions, novel=None)
    some = dataclasses.replace(
        full,
        run=dataclasses.replace(full.run, val_loss=None),
        health=dataclasses.replace(full.health, captions=summary),
        attention={name: Estimate(*[math.nan] * 3) for name in full.attention},
    )
    text = parsed(some, [], []).text
    assert "Novel" not in text and "Validation loss" not in text
    assert "nan" not in text.lower() and "None" not in text


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
        tmp_path / "report.html",
        result(),
        [],
        [photo(f"{i}.jpg", seed=i, score=i) for i in range(48)],
    )
    shown = Parsed((tmp_path / "report.html").read_text())
    assert (tmp_path / "report.html").stat().st_size <= 120_000
    assert 1 <= shown.count("img") < 48
    assert "47.jpg" in shown.text


@pytest.mark.parametrize("shape", [(2, 49), (3, 48), (49,)])
def test_attention_that_does_not_fit_is_refused_and_nothing_is_written(tmp_path, shape):
    with pytest.raises(ValueError, match=r"1\.jpg: attention of shape .* for 3 words"):
        report.write(
            tmp_path / "report.html", result(), [], [photo()._replace(attention=np.ones(shape))]
        )
    assert not list(tmp_path.iterdir())
