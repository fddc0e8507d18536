"""Noise put on photos, Gaussian and salt-and-pepper: a photo always gets the same."""

from dataclasses import dataclass

import numpy as np

from jaxcap.io.digests import digest_bytes

SEED = 0  # another one would draw other noise for every photo


@dataclass(frozen=True)
class Noise:
    """How much noise, as in the section `noise` of a denoiser's config.

    Attributes:
      gaussian: the standard deviation of what is added to every value, black to white being 1.
      salt_and_pepper: the share of pixels that become white or black, each as often.
    """

    gaussian: float = 0.0
    salt_and_pepper: float = 0.0

    def __str__(self) -> str:
        return ",".join(f"{kind}={level:g}" for kind, level in vars(self).items() if level)

    def add(self, pixels: np.ndarray, data: bytes) -> np.ndarray:
        """Puts noise on a view of a photo.

        Args:
          pixels: uint8 [H, W, 3].
          data: the photo's encoded bytes, from which its noise follows, whatever the photo is
            called and wherever it stands.

        Returns:
          uint8 [H, W, 3].
        """
        rng = np.random.default_rng((SEED, int(digest_bytes(data), 16)))
        return add_noise(pixels, self.gaussian, self.salt_and_pepper, rng)


def add_noise(
    pixels: np.ndarray, gaussian: float, salt_and_pepper: float, rng: np.random.Generator
) -> np.ndarray:
    """Puts noise on pixels: Gaussian first, so that salt is white and pepper is black.

    Args:
      pixels: uint8 [H, W, 3].
      gaussian: see `Noise`.
      salt_and_pepper: see `Noise`.
      rng: where the noise is drawn from.

    Returns:
      uint8 [H, W, 3], rounded and cut off at black and white, as a camera's are.
    """
    added = 255 * gaussian * rng.standard_normal(pixels.shape, np.float32)
    noisy = np.clip(np.rint(pixels + added), 0, 255).astype(np.uint8)
    drawn = rng.random(pixels.shape[:2])
    noisy[drawn < salt_and_pepper] = 255
    noisy[drawn < salt_and_pepper / 2] = 0
    return noisy
