"""What each key of a config may be: one table, which the flags of the commands ask too."""

import abc
import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxcap.data import source
from jaxcap.decoding.strategy import KINDS
from jaxcap.inputs.images import VIEWS
from jaxcap.models.attention import ACTIVATIONS
from jaxcap.models.cells import CELLS
from jaxcap.models.encoder import BACKBONES
from jaxcap.models.products import DTYPES
from jaxcap.models.resnet import LAYOUTS
from jaxcap.text import TOKENIZERS
from jaxcap.training.losses import AVERAGES
from jaxcap.training.optim import SCHEDULES
from jaxcap.training.partition import read_rule

FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range(abc.ABC):
    """A set of values; `str` describes it, so that it can follow "must be".

    Attributes:
      note: what a special value means.
    """

    note: str = ""

    @abc.abstractmethod
    def holds(self, value: Any) -> bool:
        """Tells whether `value` has the right type and lies inside."""

    @abc.abstractmethod
    def parse(self, text: str) -> Any:
        """Turns what was typed into a value, inside or not; raises ValueError where it cannot."""

    @abc.abstractmethod
    def words(self) -> str:
        """Describes the values, the note left out."""

    def read(self, text: str) -> Any:
        """Turns what was typed into a value of the range.

        Raises:
          ValueError: there is none; it says what it must be.
        """
        try:
            value = self.parse(text)
        except ValueError:
            value = None
        if not self.holds(value):
            raise ValueError(f"must be {self}")
        return value

    def __str__(self) -> str:
        return f"{self.words()} ({self.note})" if self.note else self.words()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Whole(Range):
    """Whole numbers from `at_least` to `at_most`; None: without end."""

    at_least: int
    at_most: int | None = None

    def holds(self, value: Any) -> bool:
        if type(value) is not int:  # True is an int too
            return False
        return self.at_least <= value and (self.at_most is None or value <= self.at_most)

    def parse(self, text: str) -> int:
        return int(text)

    def words(self) -> str:
        if self.at_most is None:
            return f"a whole number of at least {self.at_least}"
        return f"a whole number from {self.at_least} to {self.at_most:,}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Real(Range):
    """Numbers that are finite in float32, between ends that belong to them or do not."""

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None

    def holds(self, value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not abs(value) <= FLOAT32_MAX:  # nor is NaN
            return False
        rounded = float(np.float32(value))  # 1 - 1e-9 is 1 in what is computed with it
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.above is None or rounded > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or rounded < self.below)
        )

    def parse(self, text: str) -> float:
        return float(text)

    def words(self) -> str:
        low = f"above {self.above:g}" if self.at_least is None else f"of at least {self.at_least:g}"
        if self.at_most is None and self.below is None:
            return f"a finite number {low}"
        high = f"below {self.below:g}" if self.at_most is None else f"at most {self.at_most:g}"
        return f"a number {low} and {high}"


@dataclasses.dataclass(frozen=True)
class OneOf(Range):
    """A few words, or numbers, to choose from."""

    choices: Sequence[str | int]

    def holds(self, value: Any) -> bool:
        return any(type(value) is type(choice) and value == choice for choice in self.choices)

    def parse(self, text: str) -> str | int | None:
        return next((choice for choice in self.choices if str(choice) == text), None)

    def words(self) -> str:
        return f"one of {', '.join(map(str, self.choices))}"


class Flag(Range):
    """True or False, typed in any case or as 1 or 0."""

    def holds(self, value: Any) -> bool:
        return type(value) is bool

    def parse(self, text: str) -> bool | None:
        return {"true": True, "false": False, "1": True, "0": False}.get(text.lower())

    def words(self) -> str:
        return "true or false"


class Place(Range):
    """A path that the system can look for, whether or not anything lies there; may be empty."""

    def holds(self, value: Any) -> bool:
        if not isinstance(value, str) or "\0" in value:
            return False
        try:
            raw = os.fsencode(value)
        except UnicodeEncodeError:  # half a character
            return False
        unknown_user = os.path.expanduser(value).startswith("~")
        return len(raw) < 4096 and max(map(len, raw.split(b"/"))) < 256 and not unknown_user

    def parse(self, text: str) -> str:
        return text

    def words(self) -> str:
        return "a path, with names of at most 255 bytes and no unknown ~user"


class Rule(Range):
    """Rules GLOB:RATE or GLOB:RATE@EPOCH, see `partition.read_rule`."""

    def holds(self, value: Any) -> bool:
        if not isinstance(value, str):
            return False
        try:
            read_rule(value)
        except ValueError:
            return False
        return True

    def parse(self, text: str) -> str:
        return text

    def words(self) -> str:
        return (
            "a rule GLOB:RATE with a finite rate of at least 0, as layer4_*:0.1, or "
            "GLOB:RATE@EPOCH with a rate above 0, which counts from this epoch on, at least 1"
        )


@dataclasses.dataclass(frozen=True)
class Several(Range):
    """Tuples of one or more values of `each`, typed with commas, in brackets or without."""

    each: Range

    def holds(self, value: Any) -> bool:
        return isinstance(value, tuple) and len(value) > 0 and all(map(self.each.holds, value))

    def parse(self, text: str) -> tuple:
        text = text.strip()
        if (text[:1], text[-1:]) in (("(", ")"), ("[", "]")):
            text = text[1:-1]
        parts = [part.strip().strip("'\"") for part in text.split(",")]
        if parts[-1] == "":
            parts.pop()  # Python writes a tuple of one with a comma behind it
        return tuple(map(self.each.parse, parts))

    def words(self) -> str:
        return f"a tuple of at least one value, each {self.each}"


def shorten(text: str) -> str:
    """Returns a value that was typed as a message may show it: in one line, and not too long."""
    line = " ".join(text.split())
    return line if len(line) <= 80 else f"{line[:77]}..."


MOST_SEED = 2**31 - 1  # numpy, jax and gensim all take it
SEED = Whole(at_least=0, at_most=MOST_SEED)
BATCH = Whole(at_least=1, at_most=65_536)
# A ResNet of four stages halves a picture five times.
SIDE = Whole(at_least=32, at_most=4096)
WIDTH = Whole(at_least=1, at_most=16_384)  # of a layer; a square matrix of more outgrows the memory
PROTOCOLS = ("sound", "reported")
DOCTOR = ("warn", "error", "off")
EPOCHS = 10_000  # more may not be counted in 32-bit steps
RATE = Real(at_least=0, note="multiplies the learning rate; 0 freezes")
DROPOUT = Real(at_least=0, below=1, note="0: none")

POOLS = [pool for backbone in BACKBONES.values() for pool in backbone.pools]

KEYS: dict[str, Range] = {
    "seed": SEED,
    "protocol": OneOf(PROTOCOLS),
    "doctor": OneOf(DOCTOR),
    "data.seed": SEED,
    "data.name": OneOf(source.NAMES),
    "data.dir": Place(),
    "data.captions": Place(),
    "data.download": Flag(),
    "data.prepared_dir": Place(),
    "data.splits": OneOf(source.SPLITS),
    "data.photos": Whole(at_least=0, note="0: all"),
    "data.allow_missing": Flag(),
    "data.year": OneOf((2014, 2017)),
    "data.scenes": Whole(at_least=10, at_most=1_000_000),  # their ids have six digits
    "data.scene_size": SIDE,
    "text.max_length": Whole(at_least=3, at_most=1000, note="<start>, one word and <end> are 3"),
    "text.tokenizer": OneOf(TOKENIZERS),
    "text.min_count": Whole(at_least=1),
    "text.max_words": Whole(at_least=0, note="0: all"),
    "text.vocabulary": OneOf(("train", "all")),
    "text.keep_punctuation": Flag(),
    "text.end_mark": Flag(),
    "images.size": SIDE,
    "images.resize": SIDE,
    "images.augment": OneOf(("none", "free", "views")),
    "images.jitter": Real(at_least=0, at_most=1, note="0: none"),
    "images.hue": Real(at_least=0, at_most=0.5, note="0: none"),
    "images.views": Several(OneOf(VIEWS)),
    "images.cache_dir": Place(),
    "images.workers": Whole(at_least=1, at_most=256),
    "encoder.backbone": OneOf(tuple(BACKBONES)),
    "encoder.weights": Place(note="or hub, or random"),
    "encoder.layout": OneOf(LAYOUTS),
    "encoder.pool": OneOf(("auto", *POOLS)),
    "encoder.stage_sizes": Several(Whole(at_least=1, at_most=1000)),
    "encoder.width": Whole(at_least=1, at_most=1024),
    "encoder.denoiser": Place(note="empty: none"),
    "encoder.levels": Whole(at_least=1),
    "encoder.rates": Several(Rule()),
    "encoder.batch_size": BATCH,
    "encoder.dtype": OneOf(("auto", *DTYPES)),
    "embedding.kind": OneOf(("random", "word2vec", "train")),
    "embedding.path": Place(),
    "embedding.dim": WIDTH,
    "embedding.rate": RATE,
    "embedding.missing_rate": Real(at_least=-1, note="below 0: as embedding.rate"),
    "regions.norm": Flag(),
    "regions.embedding": Whole(at_least=0, at_most=WIDTH.at_most, note="0: none"),
    "regions.layers": Whole(at_least=1, at_most=100),
    "regions.dropout": DROPOUT,
    "decoder.cell": OneOf(tuple(CELLS)),
    "decoder.hidden": WIDTH,
    "decoder.attention": WIDTH,
    "decoder.activation": OneOf(tuple(ACTIVATIONS)),
    "decoder.reset_after": Flag(),
    "decoder.stateless": Flag(),
    "decoder.init_from_mean": Flag(),
    "decoder.context_gate": Flag(),
    "decoder.word_dropout": DROPOUT,
    "decoder.dtype": OneOf(("auto", *DTYPES)),
    "head.hidden": Whole(at_least=0, at_most=WIDTH.at_most, note="0: none"),
    "head.deep_output": Flag(),
    "head.tie_weights": Flag(),
    "head.dropout": DROPOUT,
    "loss.average": OneOf(AVERAGES),
    "loss.label_smoothing": Real(at_least=0, below=1, note="0: none"),
    "loss.doubly_stochastic": Real(at_least=0, note="0: none"),
    "train.batch_size": BATCH,
    "train.captions": OneOf(("random", "all", "pairs")),
    "train.val_captions": OneOf(("all", "random")),
    "train.epochs": Whole(at_least=1, at_most=EPOCHS),
    "train.learning_rate": Real(above=0),
    "train.schedule": OneOf(SCHEDULES),
    "train.decay_factor": Real(above=0, below=1, note="without decay: train.schedule=constant"),
    "train.decay_epochs": Whole(at_least=1, at_most=EPOCHS),
    "train.warmup_steps": Whole(at_least=0, at_most=10**9, note="0: none"),
    "train.weight_decay": Real(at_least=0, note="0: none"),
    "train.decoupled": Flag(),
    "train.clip_norm": Real(at_least=0, note="0: no clipping"),
    "train.ema_decay": Real(at_least=0, below=1, note="0: none"),
    "train.select": OneOf(("loss", "CIDEr-D")),
    "train.patience": Whole(at_least=0, note="0: never stops early"),
    "train.checkpoint_every": Whole(at_least=1),
    "train.span": Whole(at_least=-1, at_most=10_000, note="-1: by device; 0: one at a time"),
    "train.order_seed": Whole(at_least=-1, at_most=MOST_SEED, note="-1: as seed"),
    "train.replicas": Whole(at_least=1, at_most=1000),
    "train.shared_order": Flag(),
    "self_critical.epochs": Whole(at_least=0, at_most=EPOCHS, note="0: none"),
    "self_critical.learning_rate": Real(above=0),
    "self_critical.captions": Whole(at_least=2, at_most=1000, note="each is compared with others"),
    "search.kind": OneOf(KINDS),
    "search.beam": Whole(at_least=1, at_most=1000, note="1: greedy search"),
    # Far outside of these temperatures, float32 makes every word but one impossible, or divides
    # what is impossible into something that is no number.
    "search.temperature": Real(at_least=0.001, at_most=1000),
    "search.top_k": Whole(at_least=0, note="0: all words"),
    "search.top_p": Real(above=0, at_most=1, note="1: all words"),
    "search.min_length": Whole(at_least=0),
    # More overflows float32 in long captions.
    "search.length_normalization": Real(at_least=0, at_most=10, note="0: none"),
    "search.no_repeat_ngram": Whole(at_least=0, note="0: off"),
    "show.captions": Whole(at_least=0, at_most=100, note="0: none"),
    "show.tensorboard_every": Whole(at_least=1),
}

NO_DENOISER = "none"  # of the flag --denoiser; a folder of this name is ./none
