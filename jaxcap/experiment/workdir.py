"""A run's folder: config, vocabulary, encoder and contents, from which a run is restored."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import contents
from jaxcap.experiment.contents import Contents
from jaxcap.experiment.defaults import get_config
from jaxcap.io.files import write_atomically
from jaxcap.text import Vocabulary
from jaxcap.training.history import METRICS as METRICS

# Of config.json's "layout". Raise it when older runs can no longer be read, as when parameters or
# keys are renamed.
LAYOUT = 2
CONFIG = "config.json"
VOCABULARY = "vocabulary.json"
ENCODER = "encoder.json"
CONTENTS = "contents.json"
_ENCODER_INFO = ("pool", "normalization", "fingerprint", "source", "dtype")

# Keys that change no result of a run that has begun: places and speeds, what is shown, how a
# finished run captions. Data and weights are known by their content, so their places may change
# too.
_FREE = (
    "data.dir",
    "data.captions",
    "data.download",
    "data.prepared_dir",
    "data.allow_missing",
    "images.cache_dir",
    "images.workers",
    "encoder.weights",
    "encoder.batch_size",
    "embedding.path",
    "train.checkpoint_every",
    "search.",
    "show.",
)


def check_config(path: Path, config: ConfigDict) -> bool:
    """Tells whether `path` holds a run to resume.

    Raises:
      UserError: it holds a run of another config; the keys that differ are named.
    """
    if not (path / CONFIG).exists():
        return False
    differing = [
        line for line in configs.differences(load_config(path), config) if not _is_free(line)
    ]
    if differing:
        raise UserError(
            f"{path} holds a run of another config ({'; '.join(differing)}): "
            "choose another --workdir, or take these changes back to resume it"
        )
    return True


def check_contents(path: Path, found: Contents) -> None:
    """Makes sure that the run in `path` can go on with what is at hand.

    Args:
      path: the workdir.
      found: photos, captions, words and weights at hand.

    Raises:
      UserError: they are not those that the run began with (what differs is named), or the run is
        damaged.
    """
    differing = contents.list_differences(load_contents(path), found)
    if differing:
        raise UserError(
            f"the run in {path} began with other data or weights than those at hand "
            f"({'; '.join(differing)}): "
            "bring the old ones back to resume it, or choose another --workdir"
        )


def create(
    path: Path,
    config: ConfigDict,
    vocabulary: Vocabulary,
    encoder: Mapping[str, Any],
    made_of: Contents,
) -> None:
    """Makes the folder of a new run.

    The config is written last: where it exists, all of it exists.
    """
    write_atomically(path / VOCABULARY, vocabulary.to_json())
    write_atomically(path / ENCODER, json.dumps(dict(encoder), indent=2) + "\n")
    write_atomically(path / CONTENTS, contents.to_json(made_of))
    write_atomically(path / CONFIG, _config_to_json(config))


def update_config(path: Path, config: ConfigDict) -> list[str]:
    """Writes the config with which a run is resumed, where keys that change no result differ.

    Returns:
      One `key: old -> new` for each of them.
    """
    changed = configs.differences(load_config(path), config)
    if changed:
        write_atomically(path / CONFIG, _config_to_json(config))
    return changed


def load_config(path: Path) -> ConfigDict:
    """Reads the resolved config of the run in `path`.

    Raises:
      UserError: there is no run, another version made it, or its config cannot be read.
    """
    config = _read(path, CONFIG, _config_from_json)
    if config is None:
        raise UserError(
            f"the run in {path} was trained by another version of jaxcap, whose files this one "
            "cannot read: use that version, or train anew in another --workdir"
        )
    return config


def load_vocabulary(path: Path) -> Vocabulary:
    """Reads the vocabulary of the run in `path`; raises `UserError` as `load_config`."""
    return _read(path, VOCABULARY, Vocabulary.from_json)


def load_contents(path: Path) -> Contents:
    """Reads what the run in `path` was made of; raises `UserError` as `load_config`."""
    return _read(path, CONTENTS, contents.from_json)


def load_encoder(path: Path) -> dict[str, Any]:
    """Reads `Run.encoder_info` of the run in `path`; raises `UserError` as `load_config`."""
    return _read(path, ENCODER, _parse_encoder_info)


def _config_to_json(config: ConfigDict) -> str:
    return json.dumps({"layout": LAYOUT, **config.to_dict()}, indent=2) + "\n"


def _config_from_json(text: str) -> ConfigDict | None:
    """Returns the config, or None where another version wrote it.

    A key that came after the run has its default, which is what the run did.
    """
    values = json.loads(text)
    if values.pop("layout", None) != LAYOUT:
        return None
    config = get_config().unlock()
    config.update(configs.from_json(json.dumps(values)))
    return config.lock()


def _parse_encoder_info(text: str) -> dict[str, str]:
    values = json.loads(text)
    return {key: values[key] for key in _ENCODER_INFO}


def _is_free(difference: str) -> bool:
    """Tells whether a line of `config.differences` is about a key that changes no result."""
    key = difference.partition(":")[0]
    return key in _FREE or f"{key.partition('.')[0]}." in _FREE


def _read(path: Path, name: str, parse: Callable[[str], Any]) -> Any:
    """Reads and parses a file of a workdir; raises `UserError` as `load_config`."""
    try:
        return parse((path / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if name != CONFIG and (path / CONFIG).exists():
            raise UserError(
                f"the run in {path} holds no {name}: it is damaged or of an older jaxcap: "
                "train anew in another --workdir"
            ) from None
        raise UserError(
            f"no run in {path}: it holds no {name} (train one with --workdir {path})"
        ) from None
    except NotADirectoryError:
        advice = "that is a file (--workdir names the folder of a run)"
        raise UserError(f"no run in {path}: {advice}") from None
    except OSError as error:
        raise UserError(f"{path / name} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path / name} cannot be read ({error}): the run is damaged") from error
