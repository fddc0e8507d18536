"""Text in pictures: its letters and its lines."""

import numpy as np

from jaxcap.figures import layout


def test_letters_of_other_alphabets_are_not_drawn_as_empty_boxes():
    face = layout.load_font(20, True)
    for letter in "éñøßğЖяλ×":
        assert bytes(face.getmask(letter)) != bytes(face.getmask("\uffff")), letter


def test_text_wraps_inside_its_width_and_a_marked_word_stands_out():
    plain = layout.wrap_text("a dog runs over the long grass", 20, False, 150, (200, 200, 200))
    marked = layout.wrap_text(
        "a dog runs over the long grass", 20, False, 150, (200, 200, 200), marked=1
    )
    assert plain.size == marked.size and plain.width == 150 and plain.height > 2 * 20
    assert np.asarray(plain).min() > 150 > 60 > np.asarray(marked).min()
