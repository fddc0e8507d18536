"""The signature line."""

from jaxcap.scores.signature import write_signature

SIGNED = {
    "data": "flickr8k",
    "split": "val",
    "images": {"ids": "1f", "photos": "2e", "captions": "3d"},
    "references": [5, 5, 5],
    "beam": "5",
    "length_rule": "mean",
    "vocabulary": "2543-0123abcd",
    "version": "0.1.0",
}


def test_the_signature_names_everything_that_scores_depend_on():
    line = write_signature(**SIGNED)
    assert line.startswith("data:flickr8k|split:val|images:3|ids:1f|photos:2e|captions:3d|")
    assert "|refs:5|tok:ptb|beam:5|length:mean|vocab:2543-0123abcd|jaxcap:0.1.0" in line
    assert write_signature(**SIGNED | {"references": [4, 5, 5]}) == line.replace(
        "refs:5", "refs:4-5"
    )
