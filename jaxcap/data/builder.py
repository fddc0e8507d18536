"""The TFDS builder that writes every data set as array_record files, without TensorFlow."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import tensorflow_datasets as tfds

from jaxcap.data.places import listed
from jaxcap.data.source import Example, Reading
from jaxcap.data.split import Split
from jaxcap.errors import UserError

# Raise it whenever the same raw files are to be read otherwise than before: prepared sets are then made anew.
VERSION = "1.0.0"
_SHARD = 1000  # photos a file; TFDS holds one file's photos in memory while it writes them


class _Info(tfds.core.DatasetInfo):
    """What TFDS knows of a set, without a look into its bucket, where none of ours can lie."""

    def initialize_from_bucket(self) -> None:
        """Does nothing; TFDS would leave an empty temporary folder behind for every set that is not there yet."""


class Captions(tfds.core.ShardBasedBuilder, skip_registration=True):
    """Writes and reads one prepared set of photos and captions.

    A builder of shards, because the more usual generator needs TensorFlow for a split of more than 1 GB. Ids, captions
    and notes also go into the metadata, so that no record need be parsed to have them.
    """

    VERSION = tfds.core.Version(VERSION)
    code_path = None  # else TFDS looks for checksums beside this file, by a package that it forgets to install

    @property
    def is_complete(self) -> bool:
        """Tells whether the set is there: TFDS renames its folder into place when all is written."""
        return self.data_path.exists()

    def splits(self) -> dict[str, Split]:
        """Opens the splits of a complete set; photos stay undecoded."""
        return {
            name: Split(
                name,
                ids=tuple(part["ids"]),
                captions=tuple(map(tuple, part["captions"])),
                records=self.as_data_source(name, decoders={"photo": tfds.decode.SkipDecoding()}),
                notes=tuple(self.info.metadata["notes"]),
            )
            for name, part in self.info.metadata["splits"].items()
        }

    def write(self, reading: Reading, made_of: dict, update: Callable[[int], None]) -> None:
        """Writes the set.

        Args:
          reading: what to write.
          made_of: what decided it, for people who wonder where a prepared set came from.
          update: told how many more photos are written.

        Raises:
          UserError: a photo cannot be read.
        """
        self._reading, self._update = reading, update
        self.info.metadata["made_of"] = made_of
        self._seen: dict[bytes, tuple[str, str]] = {}
        self._twins: list[str] = []
        self.download_and_prepare(
            file_format="array_record",
            download_config=tfds.download.DownloadConfig(try_download_gcs=False),
        )

    def _info(self) -> tfds.core.DatasetInfo:
        text = tfds.features.Text()
        thing = {"shape": text, "colour": text, "size": text, "box": tfds.features.BBoxFeature()}
        return _Info(
            builder=self,
            description="Photos with their captions; the metadata say what this set was made of.",
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

    def _shard_iterators_per_split(self, dl_manager: tfds.download.DownloadManager) -> dict[str, list[Callable]]:
        splits = self._reading.splits
        self.info.metadata["splits"] = {
            split: {"ids": [example.id for example in examples], "captions": [example.captions for example in examples]}
            for split, examples in splits.items()
        }
        return {
            split: [partial(self._records, split, examples[at : at + _SHARD]) for at in range(0, len(examples), _SHARD)]
            for split, examples in splits.items()
        }

    def _records(self, split: str, examples: Sequence[Example]) -> Iterator[tuple[str, dict]]:
        for example in examples:
            photo = _bytes(example.photo)
            self._compare(split, example.id, photo)
            objects = [{**thing, "box": tfds.features.BBox(*thing["box"])} for thing in example.objects]
            yield example.id, {"id": example.id, "photo": photo, "captions": example.captions, "objects": objects}
            self._update(1)
        twins = [f"photos in two splits, byte for byte the same: {len(self._twins):,}, namely {listed(self._twins)}"]
        self.info.metadata["notes"] = [*self._reading.notes, *(twins if self._twins else [])]

    def _compare(self, split: str, id: str, photo: bytes) -> None:
        """Remembers a photo's digest, and its twin in another split when there is one."""
        other, there = self._seen.setdefault(hashlib.blake2b(photo, digest_size=16).digest(), (id, split))
        if there != split:
            self._twins.append(f"{other} ({there}) = {id} ({split})")

    def _log_download_bytes(self) -> None:
        """Says nothing: TFDS announces itself on standard output, which is the commands' own."""

    def _log_download_done(self) -> None:
        """Says nothing either."""


def _bytes(photo: Path | bytes) -> bytes:
    if isinstance(photo, bytes):
        return photo
    try:
        return photo.read_bytes()
    except OSError as error:
        raise UserError(f"{photo}: cannot be read ({error.strerror})") from error
