"""The drawn scenes and what is measured on them."""

import io
import itertools
import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from jaxcap.data import scenes
from jaxcap.errors import UserError
from jaxcap.io.digests import digest_json
from jaxcap.scores.grounding import (
    COLORS,
    SHAPES,
    count_correct,
    find_named_objects,
)


@pytest.fixture(scope="module")
def splits():
    return scenes.read(400, 64, seed=3).splits


@pytest.fixture(scope="module")
def examples(splits):
    return [example for split in splits.values() for example in split]


def words(caption):
    return caption.replace(",", " ").split()


def test_a_picture_is_a_function_of_seed_and_index_alone(splits):
    assert scenes.draw_scene(17, 64, 3) in splits["train"]
    assert scenes.draw_scene(18, 64, 3) == scenes.read(20, 64, 3).splits["val"][1]
    assert scenes.draw_scene(17, 64, 4).photo != scenes.draw_scene(17, 64, 3).photo


def test_captions_and_boxes_stay_as_they_were():
    rows = []
    for split in scenes.read(60, 48, 7).splits.values():
        for example in split:
            things = []
            for thing in example.objects:
                # The last digits of a sine may differ between machines.
                things.append({**thing, "box": [round(side, 9) for side in thing["box"]]})
            rows.append([example.id, example.captions, things])
    assert digest_json(rows) == "97965e6d283a4c9d19898ba6680cf378"


def test_pixels_stay_as_they_were():
    pixels = np.asarray(Image.open(io.BytesIO(scenes.draw_scene(5, 48, 7).photo)))
    means = pixels.reshape(3, 16, 3, 16, 3).mean((1, 3))
    golden = [
        [[179, 174, 167], [184, 176, 179], [162, 146, 172]],
        [[175, 175, 169], [172, 166, 170], [173, 164, 171]],
        [[136, 129, 132], [136, 132, 130], [180, 177, 175]],
    ]
    # Means of ninths of the picture, because another libjpeg writes slightly other pixels.
    np.testing.assert_allclose(means, golden, atol=1)


def test_the_size_in_pixels_changes_neither_captions_nor_boxes():
    small = scenes.draw_scene(5, 48, 0)
    large = scenes.draw_scene(5, 200, 0)
    assert replace(small, photo=b"") == replace(large, photo=b"")
    assert Image.open(io.BytesIO(large.photo)).size == (200, 200)


def test_of_ten_pictures_eight_one_and_one_go_to_the_splits(splits, examples):
    assert {name: len(split) for name, split in splits.items()} == {
        "train": 320,
        "val": 40,
        "test": 40,
    }
    assert len({example.id for example in examples}) == 400


def test_no_combination_of_things_stands_in_two_splits():
    seen = {"train": set(), "val": set(), "test": set()}
    for seed in (0, 1):
        for name, split in scenes.read(300, 32, seed).splits.items():
            seen[name] |= {
                frozenset((o["size"], o["colour"], o["shape"]) for o in e.objects) for e in split
            }
    assert (
        not seen["train"] & seen["val"]
        and not seen["train"] & seen["test"]
        and not seen["val"] & seen["test"]
    )


def test_every_split_has_scenes_of_one_two_and_three_things_that_differ_in_all(splits):
    for split in splits.values():
        assert {len(example.objects) for example in split} == {1, 2, 3}
        for example in split:
            for name in ("shape", "colour", "size", "box"):
                assert len({thing[name] for thing in example.objects}) == len(example.objects)


def test_every_shape_colour_and_size_is_drawn(examples):
    drawn = {
        (name, o[name]) for e in examples for o in e.objects for name in ("shape", "colour", "size")
    }
    assert {value for name, value in drawn if name == "shape"} == set(SHAPES)
    assert {value for name, value in drawn if name == "colour"} == set(COLORS)
    assert {value for name, value in drawn if name == "size"} == {"small", "medium", "large"}


def test_a_large_thing_has_a_larger_box_than_a_small_one(examples):
    for example in examples:
        sides = {
            o["size"]: max(o["box"][2] - o["box"][0], o["box"][3] - o["box"][1])
            for o in example.objects
        }
        ordered = [sides[size] for size in ("small", "medium", "large") if size in sides]
        assert all(b > 1.2 * a for a, b in itertools.pairwise(ordered))


def test_boxes_lie_inside_the_picture_and_apart(examples):
    for example in examples:
        boxes = [thing["box"] for thing in example.objects]
        for i, (y0, x0, y1, x1) in enumerate(boxes):
            assert 0 < y0 < y1 < 1 and 0 < x0 < x1 < 1
            for v0, u0, v1, u1 in boxes[:i]:
                assert y0 > v1 or v0 > y1 or x0 > u1 or u0 > x1


def test_the_box_is_where_the_paint_is(examples):
    size = 160
    alone = [index for index in range(150) if len(scenes.draw_scene(index, 32, 3).objects) == 1]
    for index in alone:
        example = scenes.draw_scene(index, size, 3)
        (thing,) = example.objects
        pixels = np.asarray(Image.open(io.BytesIO(example.photo))).astype(int)
        ys, xs = np.nonzero(
            np.linalg.norm(pixels - np.array(scenes._PAINT[thing["colour"]]), axis=-1) < 60
        )
        found = [ys.min(), xs.min(), ys.max() + 1, xs.max() + 1]
        # The thin tips of a star fade into the ground over two or three pixels.
        np.testing.assert_allclose(found, np.array(thing["box"]) * size, atol=3)


def test_five_different_captions_of_at_most_18_plain_words(examples):
    for example in examples:
        assert len(set(example.captions)) == 5
        for caption in example.captions:
            assert re.fullmatch(r"[a-z]+(,? [a-z]+)*", caption)
            assert len(caption.replace(",", " ,").split()) <= 18


def test_every_caption_names_every_object_and_nothing_else(examples):
    for example in examples:
        present = sorted((thing["shape"], thing["colour"]) for thing in example.objects)
        for caption in example.captions:
            assert sorted(pair[1:] for pair in find_named_objects(words(caption))) == present
            assert count_correct(words(caption), example.objects) == (len(present), len(present))


SHAPE = rf"an? [a-z ]*?({'|'.join(SHAPES)})"
RELATION = "(?:is )?(?:to the )?(left|right|above|below)(?: of)?"


def stated(caption):
    """Yields (shape, relation, shape) for what a caption says of places."""
    for one, relation, other in re.findall(f"{SHAPE} {RELATION} {SHAPE}", caption):
        yield one, relation, other
    for one, _, _, relation, other in re.findall(
        f"{SHAPE} {RELATION} {SHAPE} and {RELATION} {SHAPE}", caption
    ):
        yield one, relation, other
    for other, one, relation in re.findall(f"{SHAPE} with {SHAPE} {RELATION} it", caption):
        yield one, relation, other


def test_what_captions_say_of_one_thing_beside_another_is_true(examples):
    kinds = set()
    for example in examples:
        centre = {
            o["shape"]: [(o["box"][a] + o["box"][a + 2]) / 2 for a in (0, 1)]
            for o in example.objects
        }
        for caption in example.captions:
            for one, relation, other in stated(caption):
                axis = int(relation in ("left", "right"))
                assert (centre[one][axis] < centre[other][axis]) == (
                    relation in ("left", "above")
                ), caption
                kinds.add((relation, " it" in caption, " and " in caption))
    assert len(kinds) >= 12


def test_what_captions_say_of_a_place_is_true(examples):
    thirds = {
        "upper": (0, 0),
        "top": (0, 0),
        "lower": (0, 2),
        "bottom": (0, 2),
        "left": (1, 0),
        "right": (1, 2),
    }
    checked = 0
    for example in (e for e in examples if len(e.objects) == 1):
        box = example.objects[0]["box"]
        for word, (axis, third) in thirds.items():
            for caption in example.captions:
                if word in words(caption):
                    assert int((box[axis] + box[axis + 2]) / 2 * 3) == third, caption
                    checked += 1
    assert checked > 50


def test_sentences_and_the_order_of_things_vary(examples):
    openings = {tuple(words(caption)[:2]) for example in examples for caption in example.captions}
    assert len(openings) >= 15
    several = [e for e in examples if len(e.objects) > 1]
    first_named = [len({find_named_objects(words(c))[0][1] for c in e.captions}) for e in several]
    assert sum(count == 2 for count in first_named) > len(several) / 2


def test_how_a_sentence_begins_decides_which_thing_it_names_first(examples):
    largest_first = {}
    openings = ("a picture of", "we see", "there is", "the", "a")
    for example in examples:
        sizes = {
            thing["shape"]: ("small", "medium", "large").index(thing["size"])
            for thing in example.objects
        }
        for caption in example.captions if len(sizes) > 1 else ():
            order = [sizes[shape] for _, shape, _ in find_named_objects(words(caption))]
            assert order in (sorted(order), sorted(order, reverse=True)), caption
            opening = next(start for start in openings if caption.startswith(start))
            assert largest_first.setdefault(opening, order[0] > order[-1]) == (order[0] > order[-1])
    assert set(largest_first.values()) == {True, False}


@pytest.mark.parametrize(
    ("count", "size", "key"), [(9, 112, "data.scenes"), (100, 16, "data.scene_size")]
)
def test_a_set_too_small_is_refused_by_its_key(count, size, key):
    with pytest.raises(UserError, match=key):
        scenes.read(count, size, 0)
