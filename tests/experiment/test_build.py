"""What a workdir keeps of its encoder: how random weights are told apart."""

import pytest

from jaxcap.experiment import config as configs
from jaxcap.experiment.build import describe_encoder
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
