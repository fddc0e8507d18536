"""From a config to the things it names: data, vocabulary, encoder, captioner, first parameters and
inputs.
"""

import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from jaxcap import parallel, pretrained, word2vec
from jaxcap.data import datasets
from jaxcap.data.split import Split
from jaxcap.decoding import Rules
from jaxcap.errors import UserError
from jaxcap.experiment import config as configs
from jaxcap.experiment import contents
from jaxcap.experiment.contents import Contents
from jaxcap.inputs import batches, features, images
from jaxcap.io import uses
from jaxcap.io.files import cache_root
from jaxcap.models import captioner
from jaxcap.text import Vocabulary, count_words, split_captions, split_words
from jaxcap.training.optim import freeze_mask, trainable_rules


def check(config: ConfigDict) -> None:
    """Finds, before anything slow happens, what no run could do.

    Raises:
      UserError: a value outside of its key's range, or two that contradict each other.
    """
    configs.check(config)
    parallel.check_batch_size(config.train.batch_size, "train.batch_size")
    _check_embedding(config)
    _check_views(config)
    _check_grid(config)
    _check_feature_layers(config)
    _check_self_critical(config)
    search_rules(config)


def _check_embedding(config: ConfigDict) -> None:
    if config.embedding.kind == "word2vec" and not config.embedding.path:
        raise UserError("embedding.kind=word2vec needs embedding.path, the file of vectors")


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
    if config.encoder.trainable and section.augment == "views":
        raise UserError(
            "images.augment=views reads cached features, which a trained encoder outgrows: use "
            "free or none"
        )


def _check_grid(config: ConfigDict) -> None:
    """Checks what the encoder's stages make of a photo's size."""
    size, stages, levels = (
        config.images.size,
        len(config.encoder.stage_sizes),
        config.encoder.levels,
    )
    if levels > stages:
        raise UserError(
            f"encoder.levels={levels}: must be from 1 to {stages}, as encoder.stage_sizes has "
            "stages"
        )
    region = 2 ** (stages + 1)  # pixels a side
    if size < region:
        raise UserError(
            f"images.size={size}: must be at least {region} for the {stages} stages of "
            "encoder.stage_sizes, "
            "each of which but the first halves the grid"
        )
    if levels > 1 and size % region:
        raise UserError(
            f"images.size={size}: must be a multiple of {region} for encoder.levels={levels}, "
            "so that the grids of the levels fit each other"
        )


def _check_feature_layers(config: ConfigDict) -> None:
    layers = config.decoder.feature_layers
    if layers > 1 and not config.decoder.feature_embedding:
        raise UserError(
            f"decoder.feature_layers={layers}: must be 1 without a decoder.feature_embedding, "
            "whose layers they are"
        )


def _check_self_critical(config: ConfigDict) -> None:
    if config.self_critical.epochs and config.train.select != "CIDEr-D":
        raise UserError(
            "self_critical.epochs raises CIDEr-D and not the loss: set train.select=CIDEr-D"
        )


@dataclass(frozen=True)
class Experiment:
    """All that a config names, ready for training.

    Attributes:
      config: resolved and locked.
      splits: the data, by "train", "val" and, where there is one, "test".
      vocabulary: of the captions.
      unknown: each split's rate of out-of-vocabulary words.
      captions: the encoded captions of each split.
      facts: what a workdir keeps of the encoder's weights, and the dtype of the decoder.
      vectors: the imported word vectors, or None.
      model: the captioner.
      params: its parameters before the first step.
      frozen: which of them never move.
      contents: what the run is made of.
      folder: the workdir, which is noted in the caches that the run uses; None for no note.
    """

    config: ConfigDict
    splits: Mapping[str, Split]
    vocabulary: Vocabulary
    unknown: Mapping[str, float]
    captions: Mapping[str, batches.Captions]
    facts: Mapping[str, str]
    vectors: word2vec.WordVectors | None
    model: captioner.Captioner
    params: Any
    frozen: Any
    contents: Contents
    folder: Path | None = None


def prepare(config: ConfigDict, folder: Path | None = None, dtype: str | None = None) -> Experiment:
    """Loads, checks and builds everything; no file is written outside of the caches.

    Args:
      config: resolved and checked.
      folder: the workdir, to be noted in the caches that are used; None for no note.
      dtype: what decoder.dtype=auto meant when the run began; None for a run that begins now.

    Raises:
      UserError: data, weights or vectors are missing or wrong.
    """
    splits = load_data(config)
    if folder is not None:
        for split in splits.values():
            uses.record_use(split.folder, folder)
    for name in ("train", "val"):
        if name not in splits:
            raise UserError(
                f"training needs a {name} split, and {config.data.name} here has only "
                f"{', '.join(splits)}"
            )
    vocabulary, unknown = build_vocabulary(config, splits)
    encode = partial(
        batches.encode_captions,
        vocabulary=vocabulary,
        max_length=config.text.max_length,
        keep_punctuation=config.text.keep_punctuation,
    )
    encoder = load_encoder(config)
    facts = encoder_facts(config, encoder) | {"dtype": dtype or decoder_dtype(config)}
    vectors = load_vectors(config, vocabulary, splits["train"])
    model = build_captioner(config, vocabulary, facts)
    params = initial_params(config, model, encoder, vectors)
    return Experiment(
        config=config,
        splits=splits,
        vocabulary=vocabulary,
        unknown=unknown,
        captions={name: encode(split) for name, split in splits.items()},
        facts=facts,
        vectors=vectors,
        model=model,
        params=params,
        frozen=freeze_mask(params, trainable_rules(config)),
        contents=Contents(
            data=config.data.name,
            splits={name: contents.split_contents(split) for name, split in splits.items()},
            vocabulary=f"{len(vocabulary)}-{vocabulary.fingerprint}",
            encoder=facts["fingerprint"],
            # Vectors that a run trains itself follow from its captions.
            vectors=vectors.fingerprint
            if vectors is not None and config.embedding.kind == "word2vec"
            else "",
        ),
        folder=folder,
    )


def describe(run: Experiment) -> list[str]:
    """Returns the lines that a run begins with: data, words, model and devices."""
    lines = [
        f"{name}: {len(split):,} photos, {run.captions[name].counts.sum():,} captions "
        f"({run.captions[name].truncated:,} cut to {run.config.text.max_length} positions), "
        f"{run.unknown[name]:.2%} of words out of vocabulary"
        for name, split in run.splits.items()
    ]
    lines.append(f"vocabulary: {len(run.vocabulary):,} words with the four specials")
    if run.vectors is not None:
        train = run.splits["train"]
        words = partial(split_words, keep_punctuation=run.config.text.keep_punctuation)
        counts = count_words(words(caption) for captions in train.captions for caption in captions)
        lines.append(word2vec.describe(run.vectors, run.vocabulary, counts))
    sizes = jax.tree.map(lambda still, p: (p.size * (not still), p.size), run.frozen, run.params)
    trained, total = np.sum(
        [size for size in jax.tree.leaves(sizes, is_leaf=lambda x: isinstance(x, tuple))], axis=0
    )
    if selection(run.config, run.splits["val"]) != run.config.train.select:
        line = f"CIDEr-D of {len(run.splits['val'])} validation photo is always 0: the best epoch is chosen by the loss"
        if run.config.self_critical.epochs:
            line += ", and no self-critical epochs follow"
        lines.append(line)
    lines.append(f"encoder: {run.facts['source']}")
    lines.append(
        f"parameters: {trained:,} trained, {total - trained:,} frozen; "
        f"devices: {parallel.describe()}, the decoder's products in {run.facts['dtype']}"
    )
    return lines


def selection(config: ConfigDict, val: Split) -> str:
    """Returns what the best epoch is chosen by: `train.select`, or the loss where CIDEr-D cannot
    choose.

    CIDEr-D counts what tells an image from the others: with one image it is always 0.
    """
    return config.train.select if len(val) > 1 else "loss"


def self_critical_epochs(config: ConfigDict, val: Split) -> int:
    """Returns how many self-critical epochs follow: none where CIDEr-D cannot choose the best of
    them.
    """
    return config.self_critical.epochs if selection(config, val) == config.train.select else 0


def search_rules(config: ConfigDict) -> Rules:
    """Returns the rules of the captions that the config asks for; raises `UserError` for those none
    can satisfy.
    """
    section = config.search
    return Rules(
        max_length=config.text.max_length,
        min_length=section.min_length,
        length_normalization=section.length_normalization,
        no_repeat_ngram=section.no_repeat_ngram,
    )


def load_data(config: ConfigDict) -> dict[str, Split]:
    """Opens the data set of the config, prepared once; for the errors see `datasets.load`."""
    return datasets.load(config.data)


def build_vocabulary(
    config: ConfigDict, splits: Mapping[str, Split]
) -> tuple[Vocabulary, dict[str, float]]:
    """Builds the vocabulary from the training captions (or from all, as the originals did).

    Returns:
      The vocabulary, and each split's rate of out-of-vocabulary words.
    """
    counts = {}
    for name, split in splits.items():
        sentences = split_captions(split.captions, config.text)
        counts[name] = count_words(itertools.chain.from_iterable(sentences))
    counted = counts["train"]
    if config.text.vocabulary == "all":
        # The originals counted every caption there is, also of photos that are in no list.
        (sentences,) = split_captions([datasets.all_captions(config.data)], config.text)
        counted = count_words(sentences)
    vocabulary = Vocabulary.build(counted, config.text.min_count)
    return vocabulary, {name: vocabulary.unknown_rate(count) for name, count in counts.items()}


def load_encoder(config: ConfigDict) -> pretrained.Pretrained | None:
    """Loads the encoder's weights; None when the config asks for random ones."""
    encoder = config.encoder
    if encoder.weights == "random":
        return None
    return pretrained.load_resnet(
        encoder.weights,
        layout=encoder.layout,
        pool=encoder.pool,
        stage_sizes=encoder.stage_sizes,
        width=encoder.width,
    )


def encoder_facts(config: ConfigDict, encoder: pretrained.Pretrained | None) -> dict[str, str]:
    """What a workdir keeps of its encoder's weights, so that photos meet them as in training."""
    if encoder is None:
        section = config.encoder
        pool = "padded" if section.pool == "auto" else section.pool
        drawn = (config.seed, section.layout, pool, section.stage_sizes, section.width)
        fingerprint = "-".join(["random", *map(str, drawn)])
        return {
            "pool": pool,
            "convention": "imagenet",
            "fingerprint": fingerprint,
            "source": "random weights",
        }
    return {
        "pool": encoder.pool,
        "convention": encoder.normalization,
        "fingerprint": encoder.fingerprint,
        "source": encoder.source,
    }


def decoder_dtype(config: ConfigDict) -> str:
    """Returns the dtype of the decoder's products: the config's or, for "auto", the faster one
    here.
    """
    dtype = config.decoder.dtype
    return parallel.fastest_dtype() if dtype == "auto" else dtype


def load_vectors(
    config: ConfigDict, vocabulary: Vocabulary, train: Split
) -> word2vec.WordVectors | None:
    """Loads or trains word vectors; None when the config asks for random ones."""
    embedding = config.embedding
    if embedding.kind == "random":
        return None
    if embedding.kind == "word2vec":
        return word2vec.load(embedding.path, vocabulary, dim=embedding.dim, seed=config.seed)
    words = partial(split_words, keep_punctuation=config.text.keep_punctuation)
    sentences = [words(caption) for captions in train.captions for caption in captions]
    return word2vec.train_vectors(sentences, vocabulary, dim=embedding.dim, seed=config.seed)


def build_captioner(
    config: ConfigDict, vocabulary: Vocabulary, facts: Mapping[str, str]
) -> captioner.Captioner:
    """Builds the module; `facts` are those of an `Experiment`."""
    dtype = config.decoder.dtype
    if dtype == "auto":
        dtype = facts["dtype"]  # runs of a fixed dtype may have been made before it was a fact
    return captioner.build(
        config, len(vocabulary), pool=facts["pool"], convention=facts["convention"], dtype=dtype
    )


def initial_params(
    config: ConfigDict,
    model: captioner.Captioner,
    encoder: pretrained.Pretrained | None = None,
    vectors: word2vec.WordVectors | None = None,
) -> dict[str, Any]:
    """Draws the parameters by the config's seed, then puts imported weights and vectors in their
    places.
    """
    size = config.images.size
    batch = {
        "images": jnp.zeros((1, size, size, 3), jnp.uint8),
        "tokens": jnp.ones((1, 1, 2), jnp.int32),
    }
    params = jax.jit(model.init)(jax.random.key(config.seed), batch)["params"]
    if encoder is not None:
        params = {**params, "encoder": jax.tree.map(jnp.asarray, encoder.params)}
    if vectors is not None:
        words = {"embedding": jnp.asarray(vectors.matrix)}
        params = {**params, "decoder": {**params["decoder"], "words": words}}
    return params


def cached_features(
    config: ConfigDict,
    model: captioner.Captioner,
    params: Any,
    fingerprint: str,
    split: Split,
    views: tuple[str, ...] = ("plain",),
    folder: Path | None = None,
) -> np.ndarray:
    """Opens the feature cache [N, views, L, D] of a split, computing first what is not there yet.

    The workdir `folder`, where one is given, is noted in the cache.
    """
    section = config.images
    path, key = _features_place(config, fingerprint, split, views)

    def encode(encoder: Any, photos: jax.Array) -> jax.Array:
        # Halved on the device: half the bytes to bring back.
        return model.apply({"params": {"encoder": encoder}}, photos, method="encode").astype(
            jnp.float16
        )

    one = jax.ShapeDtypeStruct((1, section.size, section.size, 3), jnp.uint8)
    features.fill_cache(
        path,
        split.photo,
        split.ids,
        partial(parallel.compile_per_image(encode), params["encoder"]),
        key=key,
        grid=jax.eval_shape(encode, params["encoder"], one).shape[1:],
        views=views,
        resize=section.resize,
        size=section.size,
        batch_size=config.encoder.batch_size,
        workers=section.workers,
    )
    if folder is not None:
        uses.record_use(path, folder)
    return features.open_cache(path)


def has_cached_features(run: Any, split: Split, views: tuple[str, ...] = ("plain",)) -> bool:
    """Tells whether `plain_inputs` of the same arguments reads features and has none to compute."""
    path, _ = _features_place(run.config, run.facts["fingerprint"], split, views)
    return not run.config.encoder.trainable and path.exists()


def _features_place(
    config: ConfigDict, fingerprint: str, split: Split, views: tuple[str, ...]
) -> tuple[Path, str]:
    """Returns the folder of a split's feature cache, and the cache's key."""
    section = config.images
    transform = {
        "views": views,
        "resize": section.resize,
        "size": section.size,
        "levels": config.encoder.levels,
    }
    key = features.cache_key(fingerprint, transform, split.photos)
    root = Path(section.cache_dir).expanduser() if section.cache_dir else cache_root() / "features"
    return root / key[:16], key


def photos(config: ConfigDict, split: Split, *, augment: bool) -> batches.Inputs:
    """Inputs straight from photos: a new random view each time, or the plain one."""
    section = config.images
    view = partial(
        images.train_view, resize=section.resize, size=section.size, jitter=section.jitter
    )
    return batches.photo_inputs(
        split,
        size=section.size,
        augment=view if augment else None,
        pool=ThreadPoolExecutor(section.workers),
    )


def training_inputs(run: Experiment) -> tuple[batches.Inputs, int]:
    """Chooses what training reads: photos while the encoder learns or views are free, the feature
    cache otherwise.

    Returns:
      The inputs, and how many views they have of each photo.
    """
    augment, split = run.config.images.augment, run.splits["train"]
    if run.config.encoder.trainable or augment == "free":
        return photos(run.config, split, augment=augment == "free"), 1
    views = run.config.images.views if augment == "views" else ("plain",)
    cache = cached_features(
        run.config, run.model, run.params, run.facts["fingerprint"], split, views, run.folder
    )
    return batches.cached_inputs(cache), len(views)


def plain_inputs(run: Any, split: Split, views: tuple[str, ...] = ("plain",)) -> batches.Inputs:
    """Chooses what the plain view of a split is read from: photos where the encoder learns, else
    cached features.

    Args:
      run: an `Experiment`, or the `run.Run` that came of one.
      split: the photos.
      views: the views that a cache of this split holds or shall hold, "plain" among them.
    """
    if run.config.encoder.trainable:
        return photos(run.config, split, augment=False)
    cache = cached_features(
        run.config, run.model, run.params, run.facts["fingerprint"], split, views, run.folder
    )
    return batches.cached_inputs(cache[:, views.index("plain") :])
