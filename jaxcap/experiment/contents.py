"""What a run is made of, known by content: photos, captions, words and weights.

A workdir keeps the contents that its run began with. Resuming compares them with those at hand, and
an evaluation finds the photos that the run was trained on among those that it scores.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from jaxcap.data.split import Split
from jaxcap.io.digests import digest_json, digest_set
from jaxcap.io.plain import list_some

# Both are photos of Flickr, whose number their names begin with; one photo may lie in both, scaled
# differently.
_FLICKR = ("flickr8k", "flickr30k")
_TRAINED_ON = ("train", "val")  # the test split decides nothing in training


@dataclass(frozen=True)
class SplitContents:
    """The images of a split, in their order.

    Attributes:
      ids: the image ids.
      photos: each photo's digest.
      captions: the digest of each image's captions.
    """

    ids: tuple[str, ...]
    photos: tuple[str, ...]
    captions: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """What a run is made of.

    Attributes:
      data: the data set's name.
      splits: the images of each split.
      vocabulary: how many words there are, and their fingerprint.
      encoder: the fingerprint of the encoder's imported weights, or what random ones were drawn by.
      vectors: the digest of imported word vectors; empty where there are none.
    """

    data: str
    splits: Mapping[str, SplitContents]
    vocabulary: str
    encoder: str
    vectors: str


def split_contents(split: Split) -> SplitContents:
    """Returns the contents of a split."""
    captions = tuple(digest_json(captions)[:16] for captions in split.captions)
    return SplitContents(split.ids, split.photos, captions)


def to_json(contents: Contents) -> str:
    """Returns the contents as JSON."""
    return json.dumps(asdict(contents), indent=0, ensure_ascii=False) + "\n"


def from_json(text: str) -> Contents:
    """Reads back what `to_json` wrote.

    Raises:
      ValueError, KeyError, TypeError: it is another text.
    """
    fields = json.loads(text)
    splits = {}
    for name, split in fields["splits"].items():
        splits[name] = SplitContents(**{key: tuple(values) for key, values in split.items()})
    return Contents(**{**fields, "splits": splits})


def list_differences(old: Contents, new: Contents) -> list[str]:
    """Says what differs between the contents that a run began with and those at hand.

    Args:
      old: of the run.
      new: at hand.

    Returns:
      One short sentence for each difference that would change the training; none for equal
      contents.
    """
    found = []
    for name in _TRAINED_ON:
        if name in old.splits and name in new.splits:
            found += list_split_differences(name, old.splits[name], new.splits[name])
        elif name in old.splits or name in new.splits:
            change = "not there any more" if name in old.splits else "not there before"
            found.append(f"{name}: {change}")
    if old.vocabulary != new.vocabulary:
        before = old.vocabulary.partition("-")[0]
        after = new.vocabulary.partition("-")[0]
        change = f"{before} words -> {after}" if before != after else "other words"
        found.append(f"vocabulary: {change}")
    if old.encoder != new.encoder:
        found.append("encoder: other weights")
    if old.vectors != new.vectors:
        found.append("embedding: other word vectors")
    return found


def list_split_differences(name: str, old: SplitContents, new: SplitContents) -> list[str]:
    """Says which images of split `name` were added, removed or changed; see `list_differences`."""
    old_photos = dict(zip(old.ids, old.photos, strict=True))
    new_photos = dict(zip(new.ids, new.photos, strict=True))
    old_captions = dict(zip(old.ids, old.captions, strict=True))
    new_captions = dict(zip(new.ids, new.captions, strict=True))
    both = [image for image in new.ids if image in old_photos]
    changes = {
        "added": [image for image in new.ids if image not in old_photos],
        "removed": [image for image in old.ids if image not in new_photos],
        "changed": [image for image in both if old_photos[image] != new_photos[image]],
    }
    captions = [image for image in both if old_captions[image] != new_captions[image]]
    found = []
    for change, ids in changes.items():
        if ids:
            found.append(f"{name}: {_count(ids, 'photo')} {change} ({list_some(ids, 2)})")
    if captions:
        found.append(
            f"{name}: captions of {_count(captions, 'photo')} changed ({list_some(captions, 2)})"
        )
    if not found and old.ids != new.ids:
        found.append(f"{name}: the photos stand in another order")
    return found


def find_overlap(contents: Contents, data: str, scored: SplitContents) -> list[str]:
    """Finds the images of a scored split that a run was trained on.

    A photo is the same when its bytes are, or when both data sets are Flickr's and give it the same
    number.

    Args:
      contents: of the run.
      data: the name of the data set that is scored.
      scored: what is scored.

    Returns:
      The ids of the scored images that are among the training images.
    """
    train = contents.splits["train"]
    photos = set(train.photos)
    numbers: set[str] = set()
    by_number = contents.data in _FLICKR and data in _FLICKR
    if by_number:
        numbers = {_flickr_number(image) for image in train.ids}
    overlap = []
    for image, photo in zip(scored.ids, scored.photos, strict=True):
        if photo in photos or (by_number and _flickr_number(image) in numbers):
            overlap.append(image)
    return overlap


def digest_split(split: SplitContents) -> dict[str, str]:
    """Returns short digests of a split's ids, photos and captions, in whatever order they are.

    Returns:
      "ids", "photos" and "captions", eight hexadecimal digits each, which differ when the split
      does.
    """
    return {
        "ids": digest_set(split.ids)[:8],
        "photos": digest_set(split.photos)[:8],
        "captions": digest_set(map("\t".join, zip(split.ids, split.captions, strict=True)))[:8],
    }


def _flickr_number(image: str) -> str:
    number = re.match(r"\d+", image)
    return number[0] if number else image


def _count(things: Sequence, what: str) -> str:
    return f"{len(things):,} {what}{'' if len(things) == 1 else 's'}"
