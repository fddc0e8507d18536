"""A run's folder: config, vocabulary, encoder and contents, from which a run is restored."""

import functools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import contents
from jaxcap.experiment.contents import Contents
from jaxcap.experiment.kinds import CAPTIONER, KINDS, Kind
from jaxcap.io import plain, records
from jaxcap.io.files import write_atomically
from jaxcap.text import Vocabulary
from jaxcap.training.history import METRICS as METRICS
from jaxcap.word2vec.coverage import Coverage

# Of config.json's "layout". Raise it when older runs can no longer be read, as when parameters or
# keys are renamed.
LAYOUT = 2
CONFIG = CAPTIONER.config_file
VOCABULARY = "vocabulary.json"
ENCODER = "encoder.json"
CONTENTS = "contents.json"
COVERAGE = "coverage.json"  # only where word vectors are imported
_ENCODER_INFO = ("pool", "normalization", "fingerprint", "source", "dtype")
_DENOISER_INFO = ("widths", "fingerprint", "source")

# Keys that change no result of a run that has begun: places and speeds, what is shown, how a
# finished run captions. Data and weights are known by their content, so their places may change
# too.
_FREE = (
    "doctor",
    "data.dir",
    "data.captions",
    "data.download",
    "data.prepared_dir",
    "data.allow_missing",
    "images.cache_dir",
    "images.workers",
    "encoder.weights",
    "encoder.denoiser",
    "encoder.batch_size",
    "embedding.path",
    "train.checkpoint_every",
    "train.span",
    "search.",
    "show.",
)


def check_config(path: Path, config: ConfigDict, kind: Kind = CAPTIONER) -> bool:
    """Tells whether `path` holds a run to resume.

    Raises:
      UserError: it holds a run of another config; the keys that differ are named. Or one of another
        kind.
    """
    for other in KINDS:
        if other is not kind and (path / other.config_file).exists():
            raise UserError(
                f"{path} holds a {other.noun} of jaxcap {other.command}: choose another --workdir"
            )
    if not (path / kind.config_file).exists():
        return False
    old = load_config(path, kind)
    differing = []
    for line in configs.differences(old, config):
        if not is_free(line.partition(":")[0]):
            differing.append(line)
    if differing:
        raise UserError(
            f"{path} holds a {kind.noun} of another config ({'; '.join(differing)}): "
            "choose another --workdir, or take these changes back to resume it"
        )
    return True


def holds_run(path: Path) -> bool:
    """Tells whether `path` is the folder of a run of any kind."""
    return any((path / kind.config_file).exists() for kind in KINDS)


def check_contents(path: Path, found: Contents, kind: Kind = CAPTIONER) -> None:
    """Makes sure that the run in `path` can go on with what is at hand.

    Args:
      path: the workdir.
      found: photos, captions, words and weights at hand.
      kind: of the run.

    Raises:
      UserError: they are not those that the run began with (what differs is named), or the run is
        damaged.
    """
    differing = contents.list_differences(load_contents(path, kind), found)
    if differing:
        raise UserError(
            f"the {kind.noun} in {path} began with other data or weights than those at hand "
            f"({'; '.join(differing)}): "
            "bring the old ones back to resume it, or choose another --workdir"
        )


def create(
    path: Path,
    config: ConfigDict,
    vocabulary: Vocabulary,
    encoder: Mapping[str, Any],
    made_of: Contents,
    coverage: Coverage | None = None,
) -> None:
    """Makes the folder of a new run.

    The config is written last: where it exists, all of it exists.
    """
    write_atomically(path / VOCABULARY, vocabulary.to_json())
    write_atomically(path / ENCODER, json.dumps(dict(encoder), indent=2) + "\n")
    if coverage is not None:
        write_atomically(path / COVERAGE, plain.to_json(records.to_values(coverage), indent=2))
    write_contents(path, config, made_of)


def write_contents(
    path: Path, config: ConfigDict, made_of: Contents, kind: Kind = CAPTIONER
) -> None:
    """Writes what a run of any kind has: what it is made of and, last, its config."""
    write_atomically(path / CONTENTS, contents.to_json(made_of))
    write_atomically(path / kind.config_file, _config_to_json(config))


def update_config(path: Path, config: ConfigDict, kind: Kind = CAPTIONER) -> list[str]:
    """Writes the config with which a run is resumed, where keys that change no result differ.

    Returns:
      One `key: old -> new` for each of them.
    """
    changed = configs.differences(load_config(path, kind), config)
    if changed:
        write_atomically(path / kind.config_file, _config_to_json(config))
    return changed


def load_config(path: Path, kind: Kind = CAPTIONER) -> ConfigDict:
    """Reads the resolved config of the run in `path`.

    Raises:
      UserError: there is no run, another version made it, or its config cannot be read.
    """
    config = _read(path, kind.config_file, _config_from_json, kind)
    if config is None:
        raise UserError(
            f"the {kind.noun} in {path} was trained by another version of jaxcap, whose files this "
            "one cannot read: use that version, or train anew in another --workdir"
        )
    return _add_new_keys(config, kind)


def load_vocabulary(path: Path) -> Vocabulary:
    """Reads the vocabulary of the run in `path`; raises `UserError` as `load_config`."""
    return _read(path, VOCABULARY, Vocabulary.from_json)


def load_contents(path: Path, kind: Kind = CAPTIONER) -> Contents:
    """Reads what the run in `path` was made of; raises `UserError` as `load_config`."""
    return _read(path, CONTENTS, contents.from_json, kind)


def load_encoder(path: Path) -> dict[str, Any]:
    """Reads `Run.encoder_info` of the run in `path`; raises `UserError` as `load_config`."""
    return _read(path, ENCODER, _parse_encoder_info)


def load_coverage(path: Path) -> Coverage | None:
    """Reads how many words of the run in `path` have imported vectors; None where it has none.

    Raises:
      UserError: the file is damaged.
    """
    if not (path / COVERAGE).exists():
        return None
    return _read(path, COVERAGE, functools.partial(records.from_json, Coverage))


def _config_to_json(config: ConfigDict) -> str:
    return json.dumps({"layout": LAYOUT, **config.to_dict()}, indent=2) + "\n"


def _config_from_json(text: str) -> ConfigDict | None:
    """Returns the config, or None where another version wrote it.

    A key that came after the run has its default, which is what the run did.
    """
    values = json.loads(text)
    if values.pop("layout", None) != LAYOUT:
        return None
    return configs.from_json(json.dumps(values))


def _add_new_keys(config: ConfigDict, kind: Kind) -> ConfigDict:
    """Adds the keys that are newer than a run, at their defaults: what it did without them."""
    complete = kind.get_defaults().unlock()
    with complete.ignore_type():
        complete.update(config)
    return complete.lock()


def _parse_encoder_info(text: str) -> dict[str, Any]:
    values = json.loads(text)
    info = {key: values[key] for key in _ENCODER_INFO}
    info["encoder_dtype"] = values.get("encoder_dtype", "float32")  # of older runs
    if "denoiser" in values:
        info["denoiser"] = {key: values["denoiser"][key] for key in _DENOISER_INFO}
    return info


def is_free(key: str) -> bool:
    """Tells whether a key changes no result of a run that has begun."""
    return key in _FREE or f"{key.partition('.')[0]}." in _FREE


def _read(path: Path, name: str, parse: Callable[[str], Any], kind: Kind = CAPTIONER) -> Any:
    """Reads and parses a file of a workdir; raises `UserError` as `load_config`."""
    try:
        return parse((path / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        if name != kind.config_file and (path / kind.config_file).exists():
            raise UserError(
                f"the {kind.noun} in {path} holds no {name}: it is damaged or of an older jaxcap: "
                "train anew in another --workdir"
            ) from None
        how = "" if kind is CAPTIONER else f"jaxcap {kind.command} "
        raise UserError(
            f"no {kind.noun} in {path}: it holds no {name} (train one with {how}--workdir {path})"
        ) from None
    except NotADirectoryError:
        advice = "that is a file (--workdir names the folder of a run)"
        if kind is not CAPTIONER:
            advice = f"that is a file (name the folder of a {kind.noun})"
        raise UserError(f"no {kind.noun} in {path}: {advice}") from None
    except OSError as error:
        raise UserError(f"{path / name} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path / name} cannot be read ({error}): the {kind.noun} is damaged"
        ) from error
