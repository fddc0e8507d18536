"""What a denoiser makes of held-out photos: losses while it trains, PSNR and SSIM at the end."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxcap
from jaxcap import parallel
from jaxcap.denoising.batches import NoisyPhotos
from jaxcap.inputs.prefetch import prefetch
from jaxcap.io.progress import Progress
from jaxcap.memoize import memoize
from jaxcap.scores import image_quality
from jaxcap.scores.intervals import Estimate, estimate_scores
from jaxcap.training.denoising import NoisyDenoiser, Reconstruction
from jaxcap.training.train_step import TrainState, measure_step
from jaxcap.training.validation import measure_batches

SCORES = "scores.json"  # the file's name in a workdir; it is there once training is over
_NAMES = tuple(
    f"{which} {name}" for which in ("noisy", "denoised", "gained") for name in image_quality.NAMES
)


@dataclass(frozen=True)
class Validation:
    """Measures a state on the validation split.

    Attributes:
      measure: compiled `measure_step`: (params, batch) -> metrics.
      photos: of the split, with their noise.
      batch_size: photos a call.
    """

    measure: Callable
    photos: NoisyPhotos
    batch_size: int

    def __call__(self, state: TrainState) -> dict[str, float]:
        """Returns what `Reconstruction` measures.

        Raises:
          FloatingPointError: a number of a batch is not finite; its photos are named.
        """
        when = f"at the validation after step {int(state.step)}"
        batches = self.photos.iterate(self.batch_size)
        measure = partial(self.measure, state.eval_params)
        ids = self.photos.split.ids
        return measure_batches(measure, batches, self.batch_size, ids, when)


class DenoisedPhoto(NamedTuple):
    """A photo, clean, with noise, and without it again: uint8 [S, S, 3] each."""

    clean: np.ndarray
    noisy: np.ndarray
    denoised: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Quality:
    """What scores.json of a denoiser holds.

    Attributes:
      jaxcap: the version that scored.
      split: of the photos.
      images: how many.
      noise: kind -> level, as in the config.
      level: of all intervals.
      scores: means over photos: PSNR in decibels and SSIM of the noisy photos, of the denoised
        ones, and what was gained. Photos are rounded to 256 levels.
    """

    jaxcap: str
    split: str
    images: int
    noise: dict[str, float]
    level: float
    scores: dict[str, Estimate]


@memoize
def compile_measure_step(model: NoisyDenoiser) -> Callable:
    """Compiles `measure_step` for all devices."""
    step = partial(measure_step, model=model, objective=Reconstruction())
    return parallel.compile_eval_step(step)


@memoize
def compile_denoising(model: NoisyDenoiser) -> Callable:
    """Compiles, for all devices, (params, batch) -> denoised photos uint8 [B, S, S, 3]."""

    def denoise(params: Any, batch: dict[str, jax.Array]) -> jax.Array:
        denoised, _ = model.apply({"params": params}, batch)
        return jnp.rint(255 * denoised).astype(jnp.uint8)

    return parallel.compile_per_image(denoise)


def denoise_photos(
    denoise: Callable, params: Any, photos: NoisyPhotos, batch_size: int, count: int | None = None
) -> Iterator[DenoisedPhoto]:
    """Denoises photos in order.

    Args:
      denoise: from `compile_denoising`.
      params: of the model.
      photos: with their noise.
      batch_size: photos a call.
      count: how many of the first; None: all.
    """
    for batch in photos.iterate(batch_size, count):
        denoised = np.asarray(denoise(params, {"noisy": batch["noisy"]}))
        for photo in zip(batch["images"], batch["noisy"], denoised, batch["real"], strict=True):
            if photo[-1]:
                yield DenoisedPhoto(*photo[:-1])


def score(denoise: Callable, params: Any, photos: NoisyPhotos, batch_size: int) -> Quality:
    """Scores a denoiser on the photos of a split; arguments as of `denoise_photos`."""
    rows = []
    with Progress(len(photos.split), "quality", "photos") as progress:
        denoised = denoise_photos(denoise, params, photos, batch_size)
        for row in prefetch(_measure_photo, denoised, pool=photos.pool, window=2 * batch_size):
            rows.append(row)
            progress.update()
    level = 0.95
    return Quality(
        jaxcap=jaxcap.__version__,
        split=photos.split.name,
        images=len(rows),
        noise=dict(vars(photos.noise)),
        level=level,
        scores=estimate_scores(_NAMES, np.array(rows), _from_statistics, level=level),
    )


def _measure_photo(photo: DenoisedPhoto) -> tuple[float, ...]:
    """Returns what a photo adds: its PSNR and SSIM with noise and without it, and 1."""
    noisy = image_quality.measure(photo.clean, photo.noisy)
    return (*noisy, *image_quality.measure(photo.clean, photo.denoised), 1.0)


def _from_statistics(total: np.ndarray) -> np.ndarray:
    """Computes the scores from summed rows: [..., 5] to [..., 6]."""
    means = total[..., :4] / total[..., 4:]
    return np.concatenate([means, means[..., 2:] - means[..., :2]], -1)
