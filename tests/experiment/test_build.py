"""What a workdir keeps of its encoder, and how parameters are drawn."""

import jax
import numpy as np
import pytest

from jaxcap.experiment import config as configs
from jaxcap.experiment.build import build_model, describe_encoder, draw_params
from jaxcap.text import SPECIALS, Vocabulary
from tests.experiment.test_config import BASE


@pytest.mark.parametrize(
    ("overrides", "pool", "normalization", "fingerprint"),
    [
        # As version 0.2 wrote it, so that its runs and their cached features are still found.
        ([], "padded", "imagenet", "random-resnet-0-v1.5-padded-(3, 4, 6, 3)-64"),
        (["encoder.pool=ceil"], "ceil", "imagenet", "random-resnet-0-v1.5-ceil-(3, 4, 6, 3)-64"),
        (
            ["encoder.backbone=inception", "encoder.layout=v1", "encoder.width=4"],
            "uncounted",
            "signed",
            "random-inception-0-uncounted-4",
        ),
        (
            ["encoder.backbone=inception", "encoder.pool=counted", "seed=3"],
            "counted",
            "signed",
            "random-inception-3-counted-64",
        ),
    ],
)
def test_random_weights_are_known_by_what_they_were_drawn_by(
    overrides, pool, normalization, fingerprint
):
    config = configs.load(BASE, [f"--config.{override}" for override in overrides])
    assert describe_encoder(config, None) == {
        "pool": pool,
        "normalization": normalization,
        "fingerprint": fingerprint,
        "source": "random weights",
    }


def test_a_decoder_is_drawn_alike_with_an_encoder_and_without():
    """An encoder whose weights are imported is not drawn, and the decoder is the same."""
    small = ["images.size=32", "encoder.stage_sizes=(1, 1)", "encoder.width=4", "encoder.levels=2"]
    small += ["regions.embedding=6", "decoder.hidden=8", "decoder.init_from_mean=True"]
    drawn = []
    for weights in ("random", "elsewhere"):
        overrides = [f"--config.{override}" for override in [*small, f"encoder.weights={weights}"]]
        config = configs.load(BASE, overrides)
        info = {"pool": "padded", "normalization": "imagenet", "dtype": "float32"}
        info["encoder_dtype"] = "float32"
        model = build_model(config, Vocabulary((*SPECIALS, "a", "b")), info)
        drawn.append(draw_params(config, model))
    assert "encoder" not in drawn[1]
    jax.tree.map(np.testing.assert_array_equal, drawn[0]["decoder"], drawn[1]["decoder"])
