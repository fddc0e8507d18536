"""The batches of a denoiser: clean photos with a seed of their noise, or with the noise on them."""

import functools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from jaxcap.data.split import Split
from jaxcap.inputs.batches import Batch, Inputs, read_photos
from jaxcap.inputs.noise import Noise
from jaxcap.inputs.plan import count_steps, plan_evaluation, plan_training
from jaxcap.inputs.prefetch import prefetch


@dataclass(frozen=True)
class PhotoBatches:
    """The batches of training; their noise is drawn on the devices.

    Attributes:
      inputs: reads the clean photos.
      photos: how many there are.
      crop: pixels a side of the part of each photo that is seen; 0: the whole photo.
      batch_size: B over all devices.
      seed: of the order, of the crops and of the noise.
    """

    inputs: Inputs
    photos: int
    crop: int
    batch_size: int
    seed: int

    def __len__(self) -> int:
        return count_steps(self.photos, self.batch_size)

    def iterate_epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """Yields the batches of an epoch from step `first` on, each made while the one before runs.

        A batch holds "images" [B, S, S, 3] (S is the crop's, where there is one), "noise_seeds"
        [B], "rows" [B], which photos these are, and "real" [B], False where a photo only fills the
        last batch up. Crop and seed follow from the epoch and the photo alone.
        """
        once = np.ones(self.photos, np.int64)
        plan = plan_training(self.seed, epoch, once, 1, self.batch_size)
        rng = np.random.default_rng((self.seed, epoch, 1))  # 1: apart from the plan's numbers
        noise_seeds = rng.integers(2**31, size=self.photos).astype(np.int32)
        corners = rng.random((self.photos, 2))

        def gather(step: int) -> Batch:
            rows = plan.rows[step]
            photos = self.inputs(rows, plan.views[step], [(0, 0, 0)] * len(rows))["images"]
            return {
                "images": _cut_out(photos, corners[rows], self.crop) if self.crop else photos,
                "noise_seeds": noise_seeds[rows],
                "rows": rows,
                "real": plan.real[step],
            }

        return prefetch(gather, range(first, len(self)))


def _cut_out(photos: np.ndarray, corners: np.ndarray, crop: int) -> np.ndarray:
    """Cuts squares of `crop` pixels out of [B, S, S, 3].

    Args:
      photos: as they come.
      corners: float [B, 2] in [0, 1), how far down and right each corner stands.
      crop: pixels a side.
    """
    places = (corners * (photos.shape[1] - crop + 1)).astype(np.int64)
    squares = []
    for photo, (top, left) in zip(photos, places, strict=True):
        squares.append(photo[top : top + crop, left : left + crop])
    return np.stack(squares)


@dataclass(frozen=True)
class NoisyPhotos:
    """The photos of a split in order, with noise that is the same each time.

    Attributes:
      split: the photos.
      size: S, pixels a side.
      noise: how much.
      pool: threads that decode photos and draw noise.
    """

    split: Split
    size: int
    noise: Noise
    pool: ThreadPoolExecutor

    @functools.cached_property
    def _inputs(self) -> Inputs:
        """Reads the clean photos; kept, because a small split is decoded once for all epochs."""
        return read_photos(self.split, size=self.size, augment=None, pool=self.pool)

    def iterate(self, batch_size: int, photos: int | None = None) -> Iterator[Batch]:
        """Yields "images" and "noisy" [B, S, S, 3] and "real" [B] of the first `photos`, or all."""
        plan = plan_evaluation(len(self.split) if photos is None else photos, batch_size)

        def gather(step: int) -> Batch:
            rows = plan.rows[step]
            batch = self._inputs(rows, plan.views[step], [(0, 0, 0)] * len(rows))
            files = map(self.split.photo, rows.tolist())
            noisy = np.stack(list(self.pool.map(self.noise.add, batch["images"], files)))
            return {**batch, "noisy": noisy, "real": plan.real[step]}

        return prefetch(gather, range(len(plan.rows)))
