"""A run's folder: what it was (config, vocabulary, encoder), kept so that every command can take it up again."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap import config as configs
from jaxcap.errors import UserError
from jaxcap.files import write_atomically
from jaxcap.loop import cost
from jaxcap.text import Vocabulary
from jaxcap.writers import read_lines

CONFIG, VOCABULARY, ENCODER, METRICS = "config.json", "vocabulary.json", "encoder.json", "metrics.jsonl"


def check(path: Path, config: ConfigDict) -> bool:
    """Tells whether `path` holds a run to resume.

    Raises:
      UserError: it holds a run of another config (the keys that differ are named), or something else altogether.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"the workdir {path} is a file: choose another --workdir")
    if not (path / CONFIG).exists():
        return False
    differing = configs.differences(load_config(path), config)
    if differing:
        raise UserError(
            f"{path} holds a run of another config ({'; '.join(differing)}): "
            "choose another --workdir, or take these changes back to resume it"
        )
    return True


def create(path: Path, config: ConfigDict, vocabulary: Vocabulary, encoder: Mapping[str, Any]) -> None:
    """Makes the folder of a new run. The config is written last: where it stands, all of it stands."""
    write_atomically(path / VOCABULARY, vocabulary.to_json())
    write_atomically(path / ENCODER, json.dumps(dict(encoder), indent=2) + "\n")
    write_atomically(path / CONFIG, configs.to_json(config))


def load_config(path: Path) -> ConfigDict:
    """Reads the resolved config of the run in `path`.

    Raises:
      UserError: there is no run, or its config cannot be read.
    """
    return _read(path, CONFIG, configs.from_json)


def load_vocabulary(path: Path) -> Vocabulary:
    """Reads the vocabulary of the run in `path`; raises `UserError` as `load_config`."""
    return _read(path, VOCABULARY, Vocabulary.from_json)


def validation_loss(path: Path, select: str) -> float | None:
    """Returns the validation loss, in nats per word, of the epoch that `select` (see `loop.cost`) makes the best.

    None where the run in `path` has recorded no validation.
    """
    records = [record for record in read_lines(path / METRICS) if record.get("split") == "val"]
    records = [record for record in records if None not in (record.get("loss"), record.get(select))]
    return min(reversed(records), key=lambda record: cost(record, select))["loss"] if records else None


def load_encoder(path: Path) -> dict[str, Any]:
    """Reads what the run in `path` knows of its encoder's weights and its decoder's dtype: `Experiment.facts`."""
    return _read(path, ENCODER, json.loads)


def _read(path: Path, name: str, parse):
    try:
        return parse((path / name).read_text())
    except FileNotFoundError:
        raise UserError(f"no run in {path}: it holds no {name} (train one with --workdir {path})") from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path / name} cannot be read ({error}): the run is damaged") from error
