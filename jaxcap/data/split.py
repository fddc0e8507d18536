"""A split of a prepared data set: names and captions at hand, photos and objects read from the
records when asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Split:
    """The images of one split, by their index.

    Safe to read from several threads, and can be pickled for several processes.

    Attributes:
      name: train, val or test.
      ids: the image ids, all different.
      captions: each image's captions, as their authors wrote them.
      records: the TFDS records, photos undecoded.
      photos: each photo's digest (see `jaxcap.io.digests`), by which it is known under any name.
      notes: what is worth knowing of the raw files.
      folder: of the prepared set; None for a split that lies in none.
    """

    name: str
    ids: tuple[str, ...] = field(repr=False)
    captions: tuple[tuple[str, ...], ...] = field(repr=False)
    records: Sequence[Mapping[str, Any]] = field(repr=False, compare=False)
    photos: tuple[str, ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = field(default=(), repr=False)
    folder: Path | None = field(default=None, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.ids)

    def photo(self, index: int) -> bytes:
        """Returns the photo as its file was (JPEG, PNG, ...)."""
        return self.records[index]["photo"]

    def objects(self, index: int) -> list[dict]:
        """Returns what is in the picture, where that is known.

        Returns:
          For each object a dict of shape, colour and size (strings) and box (y0, x0, y1, x1), each
          in 0..1.
        """
        things = self.records[index]["objects"]
        boxes = [tuple(map(float, box)) for box in things["box"]]
        words = [[word.decode() for word in things[key]] for key in ("shape", "colour", "size")]
        return [
            {"shape": shape, "colour": colour, "size": size, "box": box}
            for shape, colour, size, box in zip(*words, boxes, strict=True)
        ]


def summary(splits: Mapping[str, Split]) -> str:
    """Returns one line with the images and captions of every split."""
    return "; ".join(
        f"{name} {len(split):,} images, {sum(map(len, split.captions)):,} captions"
        for name, split in splits.items()
    )
