"""The TFDS builder that writes one split as array_record files, without TensorFlow."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import tensorflow_datasets as tfds

from jaxcap.data.source import VERSION, Example, photo_sizes, read_photo
from jaxcap.data.split import Split
from jaxcap.errors import UserError
from jaxcap.io.digests import digest_bytes

# TFDS holds one file's photos in memory while it writes them.
_SHARD_PHOTOS = 1000
_SHARD_BYTES = 2**25
_SPLIT = "photos"  # what TFDS calls the one split of a set; "all" is its own word for all splits


class _Info(tfds.core.DatasetInfo):
    """What TFDS knows of a set, without asking its bucket, which has none of ours."""

    def initialize_from_bucket(self) -> None:
        """Does nothing; TFDS would leave an empty temporary folder behind for each new set."""


# mypy sees no type of TFDS's, so it does not know the keyword of its __init_subclass__.
class SplitBuilder(tfds.core.ShardBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """Writes and reads the prepared photos and captions of one split.

    A builder of shards, because the more usual generator needs TensorFlow for a split of more than
    1 GB. Ids, captions and digests also go into the metadata, so that no record need be parsed to
    have them.
    """

    name = "captions"  # part of the path of every prepared set
    VERSION = tfds.core.Version(VERSION)
    # else TFDS looks for checksums beside this file, by a package that it forgets to install
    code_path = None

    @property
    def is_complete(self) -> bool:
        """Tells whether the set is there: TFDS renames its folder when all is written."""
        return self.data_path.exists()

    def open(self, name: str, notes: Sequence[str], folder: Path) -> Split:
        """Opens a complete set as the split `name`; photos stay undecoded."""
        metadata = self.info.metadata
        return Split(
            name,
            ids=tuple(metadata["ids"]),
            captions=tuple(tuple(of_image) for of_image in metadata["captions"]),
            records=self.as_data_source(_SPLIT, decoders={"photo": tfds.decode.SkipDecoding()}),
            photos=tuple(metadata["photos"]),
            notes=tuple(notes),
            folder=folder,
        )

    def write(
        self, examples: Sequence[Example], digests: Sequence[str], update: Callable[[int], None]
    ) -> None:
        """Writes the set.

        Args:
          examples: what to write.
          digests: of each photo, as `digests.digest_bytes` gives it.
          update: told how many more photos are written.

        Raises:
          UserError: a photo cannot be read, or is not the one that was digested.
        """
        # TFDS calls the methods below without arguments of ours.
        self._examples = examples
        self._digests = digests
        self._update = update
        self.download_and_prepare(
            file_format="array_record",
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        thing = {"shape": text, "colour": text, "size": text, "box": tfds.features.BBoxFeature()}
        return _Info(
            builder=self,
            description="Photos with their captions.",
            features=tfds.features.FeaturesDict(
                {
                    "id": text,
                    "photo": tfds.features.Image(),
                    "captions": tfds.features.Sequence(text),
                    "objects": tfds.features.Sequence(thing),
                }
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _shard_iterators_per_split(
        self, dl_manager: tfds.download.DownloadManager
    ) -> dict[str, list[Callable]]:
        self.info.metadata["ids"] = [example.id for example in self._examples]
        self.info.metadata["captions"] = [example.captions for example in self._examples]
        self.info.metadata["photos"] = list(self._digests)
        shards = cut_into_shards(photo_sizes(self._examples))
        return {_SPLIT: [partial(self._records, rows) for rows in shards]}

    def _records(self, rows: range) -> Iterator[tuple[str, dict]]:
        for row in rows:
            example = self._examples[row]
            photo = read_photo(example)
            if digest_bytes(photo) != self._digests[row]:
                raise UserError(
                    f"{example.photo!s}: changed while it was being read: run the command again"
                )
            objects = []
            for thing in example.objects:
                objects.append({**thing, "box": tfds.features.BBox(*thing["box"])})
            record = {
                "id": example.id,
                "photo": photo,
                "captions": example.captions,
                "objects": objects,
            }
            yield example.id, record
            self._update(1)

    def _log_download_bytes(self) -> None:
        """Prints nothing: standard output, where TFDS would print, is for the commands' answers."""

    def _log_download_done(self) -> None:
        """Prints nothing either."""


def cut_into_shards(sizes: Sequence[int]) -> list[range]:
    """Cuts rows into ranges of at most a thousand photos and 32 MiB, each to be one file.

    Args:
      sizes: of the photos, in bytes.

    Returns:
      Consecutive ranges that cover all rows; a photo larger than 32 MiB is alone in its range.
    """
    shards = []
    first = 0
    shard_bytes = 0
    for row, size in enumerate(sizes):
        is_full = row - first == _SHARD_PHOTOS or shard_bytes + size > _SHARD_BYTES
        if row > first and is_full:
            shards.append(range(first, row))
            first = row
            shard_bytes = 0
        shard_bytes += size
    return [*shards, range(first, len(sizes))]
