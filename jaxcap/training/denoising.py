"""Training a denoiser: noise drawn on the device, the model that sees it, and its objective."""

import dataclasses
import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxcap.models.denoiser import Denoiser
from jaxcap.training.objectives import Batch, Metrics, Term

_LEAST = 1e-10  # mean squared error, 100 dB; equal photos would have an infinite PSNR


class NoisyDenoiser(nn.Module):
    """A denoiser behind a source of noise.

    Attributes:
      denoiser: float32 [B, S, S, 3] to the same.
      gaussian: the standard deviation of what is added to every value.
      salt_and_pepper: the share of pixels that become white or black.
    """

    denoiser: Denoiser
    gaussian: float = 0.0
    salt_and_pepper: float = 0.0

    def __call__(self, batch: Batch, keys: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        """Denoises the batch's noisy photos.

        Args:
          batch: "noisy" uint8 [B, S, S, 3]; or "images" uint8 [B, S, S, 3], on which noise is put
            that follows from "noise_seeds" int32 [B] alone, so that neither a photo's place in the
            batch nor the number of devices changes its noise.
          keys: of the training step; they belong to places in the batch and are not used.

        Returns:
          What was made of the noisy photos, and these, both float32 [B, S, S, 3] in [0, 1].
        """
        del keys
        if "noisy" in batch:
            noisy = batch["noisy"].astype(jnp.float32) / 255
        else:
            clean = batch["images"].astype(jnp.float32) / 255
            noise_keys = jax.vmap(jax.random.key)(batch["noise_seeds"])
            noisy = add_noise(clean, noise_keys, self.gaussian, self.salt_and_pepper)
        return self.denoiser(noisy), noisy


def add_noise(
    photos: jax.Array, keys: jax.Array, gaussian: float, salt_and_pepper: float
) -> jax.Array:
    """Puts noise on photos: Gaussian first, then salt and pepper on whole pixels.

    Args:
      photos: float32 [B, S, S, 3] in [0, 1].
      keys: one random key a photo, [B].
      gaussian: see `NoisyDenoiser`.
      salt_and_pepper: see `NoisyDenoiser`; as much salt as pepper.

    Returns:
      float32 [B, S, S, 3], cut off at 0 and 1.
    """

    def add(key: jax.Array, photo: jax.Array) -> jax.Array:
        of_gaussian, of_salt = jax.random.split(key)
        photo += gaussian * jax.random.normal(of_gaussian, photo.shape)
        drawn = jax.random.uniform(of_salt, (*photo.shape[:-1], 1))
        photo = jnp.where(drawn < salt_and_pepper, 1.0, photo)
        photo = jnp.where(drawn < salt_and_pepper / 2, 0.0, photo)
        return jnp.clip(photo, 0.0, 1.0)

    return jax.vmap(add)(keys, photos)


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """The mean squared error of denoised photos, whose values lie in [0, 1]."""

    def __call__(
        self, denoised: jax.Array, noisy: jax.Array, batch: Batch
    ) -> tuple[list[Term], Metrics]:
        """Compares with the clean "images"; "real" [B] leaves out photos that fill a batch up.

        Measures "loss", the mean squared error, and means over photos of the peak signal-to-noise
        ratio in decibels: "PSNR" of the denoised ones and "noisy_PSNR" of what they are made of.
        """
        clean = batch["images"].astype(jnp.float32) / 255
        real = batch["real"].astype(jnp.float32)
        count = real.sum()
        error = _average_squares(denoised - clean)
        total = (error * real).sum()
        metrics = {
            "loss": (total, count),
            "PSNR": ((_psnr(error) * real).sum(), count),
            "noisy_PSNR": ((_psnr(_average_squares(noisy - clean)) * real).sum(), count),
        }
        return [Term(1.0, total, count)], metrics


def _average_squares(errors: jax.Array) -> jax.Array:
    """Returns each photo's mean squared error. [B, S, S, 3] -> [B]"""
    return jnp.square(errors).mean((1, 2, 3))


def _psnr(mean_squared_error: jax.Array) -> jax.Array:
    return -10 / math.log(10) * jnp.log(jnp.maximum(mean_squared_error, _LEAST))
