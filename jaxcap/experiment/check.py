"""Checks of a config: what no run could do, found before anything slow happens."""

from ml_collections import ConfigDict

from jaxcap import parallel
from jaxcap.data.source import check_section
from jaxcap.decoding.rules import make_rules
from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment.ranges import MOST_SEED
from jaxcap.experiment.stages import caches_photos, cut_encoder
from jaxcap.models.encoder import Encoder, build_encoder, choose_pool
from jaxcap.text import SPECIALS
from jaxcap.training.partition import read_rule


def check(config: ConfigDict) -> None:
    """Finds what no run could do.

    Raises:
      UserError: a value outside of its key's range, or two that contradict each other.
    """
    configs.check(config)
    parallel.check_batch_size(config.train.batch_size, "train.batch_size")
    check_section(config.data)
    _check_text(config)
    _check_embedding(config)
    _check_views(config)
    encoder = _check_encoder(config)
    _check_layers(config)
    _check_head(config)
    _check_self_critical(config)
    _check_replicas(config, encoder)
    make_rules(config)


def _check_text(config: ConfigDict) -> None:
    text = config.text
    if text.tokenizer == "keras" and text.keep_punctuation:
        raise UserError(
            "text.keep_punctuation=True: the Tokenizer of Keras drops all marks: set it to False, "
            "or text.tokenizer=words"
        )
    if text.max_words and text.max_words <= len(SPECIALS):
        raise UserError(
            f"text.max_words={text.max_words}: must be above {len(SPECIALS)}, the specials, or 0 "
            "for all words"
        )
    if not text.end_mark and config.self_critical.epochs:
        raise UserError(
            "self_critical.epochs rewards captions that end, and text.end_mark=False ends none: "
            "set one of them otherwise"
        )


def _check_embedding(config: ConfigDict) -> None:
    section = config.embedding
    if section.kind == "word2vec" and not section.path:
        raise UserError("embedding.kind=word2vec needs embedding.path, the file of vectors")
    if section.kind != "word2vec" and section.missing_rate >= 0:
        raise UserError(
            f"embedding.missing_rate={section.missing_rate:g} is of words that imported vectors "
            "lack: set embedding.kind=word2vec, or missing_rate to -1"
        )


def _check_views(config: ConfigDict) -> None:
    """Checks what is made of a photo before the encoder sees it."""
    section = config.images
    if section.augment == "none":
        return
    if config.data.name == "scenes":
        raise UserError(
            "images.augment mirrors pictures, and the captions of scenes say left and right: set "
            "it to none"
        )
    if section.resize < section.size:
        raise UserError(
            f"images.resize={section.resize} is smaller than the crop images.size={section.size}"
        )


def _check_encoder(config: ConfigDict) -> Encoder:
    """Checks that the backbone has the pool and a grid, and that what is cached of it is still.

    Returns:
      The encoder, cut where it begins to learn.
    """
    try:
        pool = choose_pool(config.encoder)
        encoder = build_encoder(config.encoder, pool=pool, normalization="imagenet")
        encoder.grid(config.images.size)
    except ValueError as error:
        raise UserError(str(error)) from error
    encoder = cut_encoder(config, encoder)
    if config.images.augment == "views" and not caches_photos(config, encoder):
        raise UserError(
            "images.augment=views reads what is cached of the encoder, and encoder.rates="
            f"{config.encoder.rates} train it from its first stage on: use free or none, or train "
            "the last stages of a resnet alone"
        )
    _check_epochs(config)
    return encoder


def _check_epochs(config: ConfigDict) -> None:
    """Checks that what shall learn from an epoch on does so before the run is over."""
    epochs = config.train.epochs + config.self_critical.epochs
    for text in config.encoder.rates:
        if read_rule(text).epoch > epochs:
            raise UserError(
                f"encoder.rates: {text} begins after the {epochs} epochs of the run, so that "
                "nothing of it ever learns: give it an earlier epoch, or freeze it by the rate 0"
            )


def _check_layers(config: ConfigDict) -> None:
    layers = config.regions.layers
    if layers > 1 and not config.regions.embedding:
        raise UserError(
            f"regions.layers={layers}: must be 1 without a regions.embedding, whose layers they are"
        )


def _check_head(config: ConfigDict) -> None:
    section = config.head
    for key in ("deep_output", "tie_weights"):
        if section.hidden and section[key]:
            raise UserError(
                f"head.hidden={section.hidden} and head.{key}=True: {key} has a layer of the word "
                "embedding's width in its place, so set head.hidden to 0"
            )


def check_replicas(config: ConfigDict, replicas: int) -> None:
    """Checks that several seeds of a config can train side by side, each in an order of its own.

    Args:
      config: of one of them, checked.
      replicas: how many.

    Raises:
      UserError: they cannot.
    """
    several = ConfigDict(config.to_dict()).unlock()
    several.train.replicas = replicas
    several.train.shared_order = False
    check(several.lock())


def _check_replicas(config: ConfigDict, encoder: Encoder) -> None:
    train = config.train
    if train.replicas == 1:
        return
    if not train.shared_order and train.order_seed >= 0:
        raise UserError(
            f"train.order_seed={train.order_seed} and train.shared_order=False: replicas with an "
            "order each take it from their own seeds, so set order_seed to -1"
        )
    last = config.seed + train.replicas - 1
    if last > MOST_SEED:
        raise UserError(f"seed={config.seed}: the last replica's would be {last}: take a lower one")
    if config.encoder.weights == "random" and caches_photos(config, encoder):
        raise UserError(
            f"train.replicas={train.replicas} share the features of one encoder, and "
            "encoder.weights=random gives each another: import weights, or let it learn with "
            "encoder.rates"
        )


def _check_self_critical(config: ConfigDict) -> None:
    if config.self_critical.epochs and config.train.select != "CIDEr-D":
        raise UserError(
            "self_critical.epochs raises CIDEr-D and not the loss: set train.select=CIDEr-D"
        )
