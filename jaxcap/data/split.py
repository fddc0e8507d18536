"""A split of a prepared data set: ids and captions in memory, photos and objects in the records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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

    def objects(self, index: int) -> list[dict[str, Any]]:
        """Returns what is in the picture, where that is known.

        Returns:
          For each object a dict of shape, colour and size (strings) and box (y0, x0, y1, x1), each
          in 0..1.
        """
        # TFDS keeps a sequence of dicts as a dict of sequences.
        columns = self.records[index]["objects"]
        objects = []
        for i, box in enumerate(columns["box"]):
            names = {key: columns[key][i].decode() for key in ("shape", "colour", "size")}
            objects.append({**names, "box": tuple(float(side) for side in box)})
        return objects


class _Selection(Sequence):
    """Some rows of records, read when they are asked for."""

    def __init__(self, records: Sequence[Mapping[str, Any]], rows: Sequence[int]):
        self._records = records
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Any) -> Any:
        return self._records[self._rows[index]]


def select_images(
    split: Split, name: str, captions: Mapping[int, Sequence[str]], note: str
) -> Split:
    """Returns some images of a split as a split of their own.

    Args:
      split: the images to choose from.
      name: of the new split.
      captions: row -> the captions that the image keeps; images of no row are left out.
      note: says how they were chosen.
    """
    rows = sorted(captions)
    return replace(
        split,
        name=name,
        ids=tuple(split.ids[row] for row in rows),
        captions=tuple(tuple(captions[row]) for row in rows),
        records=_Selection(split.records, rows),
        photos=tuple(split.photos[row] for row in rows),
        notes=(*split.notes, note),
    )


def summarize(splits: Mapping[str, Split]) -> str:
    """Returns one line with the images and captions of every split."""
    parts = []
    for name, split in splits.items():
        captions = sum(len(of_image) for of_image in split.captions)
        parts.append(f"{name} {len(split):,} images, {captions:,} captions")
    return "; ".join(parts)
