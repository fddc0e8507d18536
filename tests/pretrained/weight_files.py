"""Files of weights of a small ResNet, in every form, for the tests."""

import os
from pathlib import Path

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import save

from jaxcap.errors import UserError
from jaxcap.experiment import defaults
from jaxcap.pretrained import Pretrained, load_encoder
from tests import torch_files

SMALL = {"stage_sizes": (2, 1), "width": 4}
DATA = Path(os.environ.get("JAXCAP_DATA", "/nowhere"))
FORMS = ("safetensors", "zip", "legacy")


def written(folder, arrays, form="safetensors"):
    """Writes a file of the form and returns its path as a config would hold it."""
    path = folder / ("weights.safetensors" if form == "safetensors" else f"{form}.pth")
    path.write_bytes(save(arrays) if form == "safetensors" else torch_files.saved(arrays, form))
    return str(path)


def load(weights, **options) -> Pretrained:
    """Loads a file as a config does that has these options of the encoder."""
    return load_encoder(defaults.encoder() | {"weights": str(weights)} | options)


def mistake(weights, **options):
    """Returns the line in which loading ends."""
    with pytest.raises(UserError) as raised:
        load(weights, **{**SMALL, **options})
    assert "\n" not in str(raised.value)
    return str(raised.value)


def equal_trees(ours, theirs):
    ours = flatten_dict(ours)
    theirs = flatten_dict(theirs)
    return ours.keys() == theirs.keys() and all(
        np.array_equal(ours[path], theirs[path]) for path in ours
    )
