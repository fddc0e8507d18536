"""From a config to the things it names: data, vocabulary, captioner and first parameters."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxcap import devices, parallel, pretrained, processes, word2vec
from jaxcap.data.split import Split
from jaxcap.experiment import contents, denoisers
from jaxcap.experiment.contents import Contents
from jaxcap.experiment.datasets import Sentences, build_vocabulary, load_splits
from jaxcap.experiment.run import Run
from jaxcap.experiment.sharing import Shared
from jaxcap.experiment.stages import assign_first_epochs, assign_rates, cut_encoder
from jaxcap.inputs.batches import Captions, encode_captions
from jaxcap.io import uses
from jaxcap.models.captioner import Captioner, build_captioner, draw_captioner
from jaxcap.models.convolution_forms import Arithmetic
from jaxcap.models.encoder import BACKBONES, choose_pool
from jaxcap.text import Vocabulary, count_words, split_captions
from jaxcap.training import partition


@dataclass(frozen=True)
class Experiment(Run):
    """A run that is ready for training; `params` are those before the first step.

    Attributes:
      splits: the data, by "train", "val" and, where there is one, "test".
      captions: the encoded captions of each split.
      unknown: each split's rate of out-of-vocabulary words.
      contents: what the run is made of.
      vectors: imported word vectors; None for random ones.
      is_replica: it trains beside others, which differ in their seeds alone.
      coverage: how many words have imported vectors; None where there are none.
      row_rates: of the embedding's rows, see `partition.assign_row_rates`; None for none.
    """

    model: Captioner
    splits: Mapping[str, Split]
    captions: Mapping[str, Captions]
    unknown: Mapping[str, float]
    contents: Contents
    vectors: word2vec.WordVectors | None
    coverage: word2vec.Coverage | None
    row_rates: Any
    is_replica: bool = False


def build_experiment(
    config: ConfigDict,
    folder: Path | None = None,
    begun: Mapping[str, Any] | None = None,
    shared: Shared | None = None,
) -> Experiment:
    """Loads, checks and builds everything; no file is written outside of the caches.

    Args:
      config: resolved and checked.
      folder: the workdir, to be noted in the caches that are used; None for no note.
      begun: `Run.encoder_info` of a run that has begun, which says what a dtype of auto meant then;
        None for a run that begins now.
      shared: with other experiments of this process; None: with none.

    Raises:
      UserError: data, weights or vectors are missing or wrong.
    """
    shared = shared or Shared()
    data = config.data.to_dict()
    splits = shared.get("splits", data, lambda: load_splits(config))
    for split in splits.values():
        if folder is not None and split.folder is not None and processes.is_first():
            uses.record_use(split.folder, folder)
    text = config.text.to_dict()
    splitting = {key: text[key] for key in ("tokenizer", "keep_punctuation")}
    sentences = shared.get("words", [data, splitting], lambda: _split_all(splits, config))
    vocabulary, unknown = shared.get(
        "vocabulary", [data, text], lambda: build_vocabulary(config, sentences)
    )
    weights = load_weights(config)
    denoiser = denoisers.load_denoiser(config)
    encoder_info = describe_encoder(config, weights) | choose_dtypes(config, begun)
    encoder_info = denoisers.describe_denoised(encoder_info, denoiser)
    model = build_model(config, vocabulary, encoder_info)
    training = [words for captions in sentences["train"] for words in captions]
    pool = ThreadPoolExecutor(1)
    try:
        # Both take seconds; what else the user may have got wrong has been checked by now.
        loading = pool.submit(load_vectors, config, vocabulary, training)
        params = draw_params(config, model, weights)
        vectors = loading.result()
    finally:
        pool.shutdown(wait=False)  # Ctrl-C waits for nothing
    if vectors is not None:
        _put_vectors(params, vectors)
    if denoiser is not None:
        params["encoder"]["denoiser"] = denoiser.params
    rates = assign_rates(config, params)
    row_rates = None
    if vectors is not None:
        row_rates = partition.assign_row_rates(rates, config.embedding, vectors.found)
    return Experiment(
        folder=folder,
        config=config,
        vocabulary=vocabulary,
        encoder_info=encoder_info,
        model=model,
        params=params,
        rates=rates,
        splits=splits,
        captions={
            name: encode_captions(of_split, vocabulary, config.text)
            for name, of_split in sentences.items()
        },
        unknown=unknown,
        contents=_list_contents(config, splits, vocabulary, encoder_info, vectors),
        row_rates=row_rates,
        vectors=vectors,
        coverage=None
        if vectors is None
        else word2vec.measure_coverage(vectors, vocabulary, count_words(training)),
    )


def build_replica(experiment: Experiment, config: ConfigDict, folder: Path) -> Experiment:
    """Builds a run that differs from another in its seed alone; data and imports are shared.

    Args:
      experiment: the other run.
      config: the same with another `seed`.
      folder: the workdir.
    """
    vectors = experiment.vectors
    if vectors is not None and config.embedding.kind == "word2vec":
        vectors = vectors.redraw(config.seed)
    elif vectors is not None:
        vectors = load_vectors(config, experiment.vocabulary, _list_training(experiment))
    params = draw_params(config, experiment.model)
    if vectors is not None:
        _put_vectors(params, vectors)
    encoder_info = dict(experiment.encoder_info)
    if config.encoder.weights == "random":
        encoder_info = encoder_info | describe_encoder(config, None)
        params["encoder"] = experiment.params["encoder"] | {
            "backbone": params["encoder"]["backbone"]
        }
    else:
        params["encoder"] = experiment.params["encoder"]
    return replace(
        experiment,
        folder=folder,
        config=config,
        params=params,
        encoder_info=encoder_info,
        vectors=vectors,
        contents=replace(experiment.contents, encoder=encoder_info["fingerprint"]),
        is_replica=True,
    )


def describe(experiment: Experiment) -> list[str]:
    """Returns the lines that a run begins with: data, words, model and devices."""
    config = experiment.config
    lines = []
    for name, split in experiment.splits.items():
        captions = experiment.captions[name]
        lines.append(
            f"{name}: {len(split):,} photos, {captions.counts.sum():,} captions "
            f"({captions.truncated:,} cut to {config.text.max_length} positions), "
            f"{experiment.unknown[name]:.2%} of words out of vocabulary"
        )
    lines.append(f"vocabulary: {len(experiment.vocabulary):,} words with the four specials")
    if experiment.coverage:
        lines.append(word2vec.describe(experiment.coverage))
    val = experiment.splits["val"]
    if choose_selection(config, val) != config.train.select:
        line = (
            f"CIDEr-D of {len(val)} validation photo is always 0: the best epoch is chosen by the "
            "loss"
        )
        if config.self_critical.epochs:
            line += ", and no self-critical epochs follow"
        lines.append(line)
    lines.append(f"encoder: {experiment.encoder_info['source']}")
    if "denoiser" in experiment.encoder_info:
        lines.append(f"denoiser: {experiment.encoder_info['denoiser']['source']}")
    counts = partition.count_parameters(experiment.params, experiment.rates, experiment.row_rates)
    lines.append(
        f"parameters: {counts['trained']:,} trained, {counts['frozen']:,} frozen; "
        f"devices: {devices.describe()}, the decoder's products in "
        f"{experiment.encoder_info['dtype']}, the encoder's in "
        f"{experiment.encoder_info['encoder_dtype']}"
    )
    return lines + _describe_waiting(experiment)


def _describe_waiting(experiment: Experiment) -> list[str]:
    """Returns a line for each later epoch in which parameters begin to learn."""
    first_epochs = jax.tree.leaves(assign_first_epochs(experiment.config, experiment.params))
    waiting: dict[int, int] = {}
    for leaf, epoch in zip(jax.tree.leaves(experiment.params), first_epochs, strict=True):
        if epoch > 1:
            waiting[epoch] = waiting.get(epoch, 0) + leaf.size
    return [
        f"from epoch {epoch} on: {count:,} of the trained parameters, which stay as they are before"
        for epoch, count in sorted(waiting.items())
    ]


def choose_selection(config: ConfigDict, val: Split) -> str:
    """Returns what the best epoch is chosen by: `train.select`, or the loss for a single photo.

    CIDEr-D weighs words by how few of the images have them: with one image it is always 0.
    """
    return config.train.select if len(val) > 1 else "loss"


def load_weights(config: ConfigDict) -> pretrained.Pretrained | None:
    """Loads the encoder's weights; None when the config asks for random ones."""
    if config.encoder.weights == "random":
        return None
    return pretrained.load_encoder(config.encoder)


def describe_encoder(config: ConfigDict, weights: pretrained.Pretrained | None) -> dict[str, str]:
    """Returns what a workdir keeps of its encoder's weights, to encode photos as in training."""
    if weights is not None:
        return {
            "pool": weights.pool,
            "normalization": weights.normalization,
            "fingerprint": weights.fingerprint,
            "source": weights.source,
        }
    section = config.encoder
    backbone = BACKBONES[section.backbone]
    pool = choose_pool(section)
    drawn_by = [config.seed]
    drawn_by += [pool if key == "pool" else section[key] for key in backbone.keys]
    return {
        "pool": pool,
        "normalization": backbone.normalization,
        "fingerprint": "-".join(["random", section.backbone, *map(str, drawn_by)]),
        "source": "random weights",
    }


def choose_dtypes(config: ConfigDict, begun: Mapping[str, Any] | None = None) -> dict[str, str]:
    """Returns the dtypes of the products, as `Run.encoder_info` holds them.

    Args:
      config: whose dtypes they are or, where it says "auto", the faster ones.
      begun: `Run.encoder_info` of a run that has begun, whose dtypes stay; None for another.
    """
    wanted = {"dtype": config.decoder.dtype, "encoder_dtype": config.encoder.dtype}
    if begun is not None:
        return {name: begun[name] for name in wanted}
    return {
        name: devices.fastest_dtype() if dtype == "auto" else dtype
        for name, dtype in wanted.items()
    }


def load_vectors(
    config: ConfigDict, vocabulary: Vocabulary, sentences: Sequence[Sequence[str]]
) -> word2vec.WordVectors | None:
    """Loads word vectors or trains them on `sentences`; None when the config wants random ones."""
    embedding = config.embedding
    if embedding.kind == "random":
        return None
    if embedding.kind == "word2vec":
        return word2vec.load(embedding.path, vocabulary, dim=embedding.dim, seed=config.seed)
    return word2vec.train_vectors(sentences, vocabulary, dim=embedding.dim, seed=config.seed)


def build_model(
    config: ConfigDict, vocabulary: Vocabulary, encoder_info: Mapping[str, Any]
) -> Captioner:
    """Builds the module; `encoder_info` is that of a `Run`."""
    model = build_captioner(
        config,
        len(vocabulary),
        pool=encoder_info["pool"],
        normalization=encoder_info["normalization"],
        dtype=encoder_info["dtype"],
        arithmetic=Arithmetic(encoder_info["encoder_dtype"], devices.is_processor()),
        on_processor=devices.is_processor(),
        denoiser=encoder_info.get("denoiser"),
    )
    return model.clone(encoder=cut_encoder(config, model.encoder))


def draw_params(
    config: ConfigDict, model: Captioner, weights: pretrained.Pretrained | None = None
) -> dict[str, Any]:
    """Draws the parameters by the config's seed, then puts in imported weights.

    An encoder whose weights are imported is not drawn.
    """
    drawn = config.encoder.weights == "random"
    key = jax.random.key(config.seed)
    params = draw_captioner(model, key, config.images.size, encoder=drawn)
    if weights is not None:
        params["encoder"] = {"backbone": parallel.put(weights.params)}
    return params


def _put_vectors(params: dict[str, Any], vectors: word2vec.WordVectors) -> None:
    """Puts word vectors in the place of drawn ones."""
    params["decoder"]["embed"] = {"embedding": parallel.put(vectors.matrix)}


def _list_training(experiment: Experiment) -> list[list[str]]:
    """Returns the words of each training caption."""
    split = experiment.splits["train"]
    sentences = split_captions(split.captions, experiment.config.text)
    return [words for captions in sentences for words in captions]


def _split_all(splits: Mapping[str, Split], config: ConfigDict) -> dict[str, Sentences]:
    """Splits all captions of all splits into words."""
    return {name: split_captions(split.captions, config.text) for name, split in splits.items()}


def _list_contents(
    config: ConfigDict,
    splits: Mapping[str, Split],
    vocabulary: Vocabulary,
    encoder_info: Mapping[str, Any],
    vectors: word2vec.WordVectors | None,
) -> Contents:
    imported = ""
    # Vectors that a run trains itself follow from its captions.
    if vectors is not None and config.embedding.kind == "word2vec":
        imported = vectors.fingerprint
    return Contents(
        data=config.data.name,
        splits={name: contents.split_contents(split) for name, split in splits.items()},
        vocabulary=f"{len(vocabulary)}-{vocabulary.fingerprint}",
        encoder=encoder_info["fingerprint"],
        vectors=imported,
    )
