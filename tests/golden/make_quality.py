"""Writes quality.json anew: what scikit-image makes of noisy.png and blurred.png beside clean.png.

    python -m tests.golden.make_quality

It needs scikit-image (extra [parity]). The picture is one of our own rendered scenes.
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

HERE = Path(__file__).parent


def quality() -> dict[str, dict[str, float]]:
    """Scores two pictures against the clean one."""
    clean = np.asarray(Image.open(HERE / "clean.png"))
    scores = {}
    for name in ("noisy.png", "blurred.png"):
        picture = np.asarray(Image.open(HERE / name))
        scores[name] = {
            "PSNR": float(peak_signal_noise_ratio(clean, picture)),
            "SSIM": float(structural_similarity(clean, picture, channel_axis=-1)),
        }
    return scores


def main() -> None:
    text = json.dumps(quality(), indent=1) + "\n"
    (HERE / "quality.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
