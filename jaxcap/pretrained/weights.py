"""What the loading of every network's weights shares: its result, and what a network must offer."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict

Section = Mapping[str, Any]  # `encoder` of a config
Arrays = Mapping[str, np.ndarray]  # of a file, under its own names


class Pretrained(NamedTuple):
    """An encoder's weights.

    Attributes:
      params: of the backbone with folded=True, on the host.
      fingerprint: a hash of everything that the features of a normalised image depend on.
      normalization: how images must be normalised for them, as in `models.encoder.normalize`.
      pool: how the network that they were trained in pools, a choice of the key encoder.pool.
      source: a line that says what was loaded.
    """

    params: dict
    fingerprint: str
    normalization: str
    pool: str
    source: str


class Network(NamedTuple):
    """How the weights of one backbone are found and read.

    Attributes:
      title: what errors call it.
      check: (section) refuses options that contradict each other, before anything is read.
      find_hub_file: () finds the file of encoder.weights=hub on this machine, or downloads it.
      holds: (names) tells whether a file with arrays of these names holds such a network.
      convert: (arrays, section, path) checks, folds and describes the arrays of the file `path`.
    """

    title: str
    check: Callable[[Section], None]
    find_hub_file: Callable[[], Path]
    holds: Callable[[Iterable[str]], bool]
    convert: Callable[[Arrays, Section, Path], Pretrained]


def is_keras(path: Path) -> bool:
    """Tells a file of Keras's from those of PyTorch's arrays."""
    return path.suffix.lower() == ".h5"


def hash_features(params: dict, *options: str) -> str:
    """Hashes what makes the features, whatever file the weights were read from.

    Args:
      params: of the backbone.
      options: what else decides: how it is built, and how images are normalised.
    """
    hashed = hashlib.sha256(" ".join(options).encode())
    for path, array in sorted(flatten_dict(params).items()):
        hashed.update(f"{'/'.join(path)} {array.shape}".encode())
        hashed.update(array.tobytes())
    return hashed.hexdigest()
