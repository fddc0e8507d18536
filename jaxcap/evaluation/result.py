"""The result of an evaluation: what scores.json holds, what the tables, report and compare read.

Scores stand as they are computed, BLEU, ROUGE-L and METEOR in 0 .. 1 and CIDEr-D in 0 .. 10; papers
print all of them times 100. A number that does not exist is NaN here and null in JSON.
"""

from dataclasses import dataclass
from typing import Any

from jaxcap.decoding.strategy import Sampling
from jaxcap.io import plain, records
from jaxcap.scores.health import Phrase, Summary
from jaxcap.scores.intervals import Estimate


@dataclass(frozen=True)
class Parameters:
    """How many numbers a run has learnt, and how many were left as they were loaded."""

    trained: int
    frozen: int


@dataclass(frozen=True)
class DenoiserInfo:
    """The denoiser that photos went through.

    Attributes:
      source: the workdir that it came from.
      fingerprint: of its parameters.
      own: the run was trained behind it; else --denoiser named it.
    """

    source: str
    fingerprint: str
    own: bool


@dataclass(frozen=True, kw_only=True)
class Member:
    """One of the runs that wrote the captions as an ensemble.

    Attributes:
      workdir: its folder, as it was typed.
      folder: the same as an absolute path.
      step: of the checkpoint.
      epoch: of the checkpoint.
      val_loss: of the checkpoint, in nats per word; None where it was not recorded.
      scores: of its captions alone; None, and not in the file, where they are not known.
    """

    workdir: str
    folder: str
    step: int
    epoch: int
    val_loss: float | None
    scores: dict[str, Estimate] | None = None


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The run that wrote the captions, or the runs that wrote them as an ensemble.

    Attributes:
      workdir: its folder, as it was typed; the first one of an ensemble.
      folder: the same as an absolute path.
      config: the resolved config, as nested dicts; the first one of an ensemble.
      vocabulary_size: words of the vocabulary.
      vocabulary: its fingerprint.
      encoder: where the encoder's weights came from.
      parameters: how many there are.
      step: of the checkpoint; None for an ensemble, whose members have their own.
      epoch: of the checkpoint; None for an ensemble.
      val_loss: of the checkpoint, in nats per word; None where it was not recorded, and for an
        ensemble.
      denoiser: the encoder's first step; None, and not in the file, where there was none.
      members: of an ensemble; None, and not in the file, for a single run.
    """

    workdir: str
    folder: str
    config: dict[str, Any]
    vocabulary_size: int
    vocabulary: str
    encoder: str
    parameters: Parameters
    step: int | None
    epoch: int | None
    val_loss: float | None
    denoiser: DenoiserInfo | None = None
    members: tuple[Member, ...] | None = None

    @property
    def other_denoiser(self) -> str:
        """What --denoiser asked for: "none" or a short fingerprint; empty for the run's own."""
        if self.denoiser:
            return "" if self.denoiser.own else self.denoiser.fingerprint[:8]
        return "none" if self.config["encoder"].get("denoiser") else ""

    def describe(self) -> str:
        """Returns the workdir as it was typed, or all of an ensemble's."""
        if self.members is None:
            return self.workdir
        names = ", ".join(member.workdir for member in self.members)
        return f"the ensemble of {len(self.members)} ({names})"


@dataclass(frozen=True, kw_only=True)
class DataInfo:
    """The images that were scored.

    Attributes:
      name: the data set's.
      dir: the folder of --data-dir; empty for the run's own data.
      split: val or test.
      images: how many.
      references: how many in all.
      ids: digest of the image ids.
      photos: digest of the photos.
      captions: digest of the references.
      trained_on: how many of the images the run was trained on; None when it does not know.
      noise: kind -> level of what was put on the photos; None, and not in the file, for none.
    """

    name: str
    dir: str
    split: str
    images: int
    references: int
    ids: str
    photos: str
    captions: str
    trained_on: int | None
    noise: dict[str, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Search:
    """How captions were written: beam or sampling, and `decoding.Rules`.

    Attributes:
      beam: hypotheses kept, 1 for greedy search; None where words were drawn at random.
      sampling: how they were drawn; None, and not in the file, for a search.
    """

    beam: int | None
    max_length: int
    min_length: int
    length_normalization: float
    unk: bool
    no_repeat_ngram: int
    end_mark: bool = True
    sampling: Sampling | None = None

    def describe(self) -> str:
        """Returns in words how captions were written, without the rules."""
        if self.sampling:
            options = self.sampling.list_options().items()
            named = [f"{name.replace('_', ' ')} {value:.15g}" for name, value in options]
            return f"sampling ({', '.join(named)})"
        return "greedy search" if self.beam == 1 else f"beam search with {self.beam} beams"


@dataclass(frozen=True)
class Baseline:
    """What the captions of an image-agnostic baseline score.

    Attributes:
      name: "most common", "shuffled" or "nearest".
      about: what it is, in a line.
      scores: as those of the run.
    """

    name: str
    about: str
    scores: dict[str, Estimate]


@dataclass(frozen=True)
class Health:
    """How varied the captions are.

    Attributes:
      captions: the run's; `novel` is set once the training captions are known.
      references: those of the same images.
      overused: phrases that the run uses far more often than the references, the worst first.
    """

    captions: Summary
    references: Summary
    overused: tuple[Phrase, ...]


@dataclass(frozen=True)
class SceneObjects:
    """How many objects of rendered scenes the captions name with the right shape and color."""

    right: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Result:
    """Everything that an evaluation has found.

    Attributes:
      jaxcap: the version that scored.
      signature: equal lines mean scores that can be compared; see `jaxcap.scores.signature`.
      run: the run that wrote the captions.
      data: the images.
      search: how captions were searched.
      level: of all intervals.
      scores: BLEU-1 .. BLEU-4, ROUGE-L, CIDEr-D and, where Java is, METEOR.
      baselines: image-agnostic ones, as far as they were asked for and could be had.
      health: of the captions.
      attention: `scores.attention.NAMES`; on scenes also `scores.grounding.NAMES`.
      scenes: on rendered scenes, the objects named; else None.
      notes: sentences to print under the table: what was left out and why, and how numbers are to
        be read.
    """

    jaxcap: str
    signature: str
    run: RunInfo
    data: DataInfo
    search: Search
    level: float
    scores: dict[str, Estimate]
    baselines: tuple[Baseline, ...]
    health: Health
    attention: dict[str, Estimate]
    scenes: SceneObjects | None
    notes: tuple[str, ...]


def to_json(result: Result, *, ascii_only: bool = False) -> str:
    """Writes a result as indented JSON.

    Args:
      result: what to write.
      ascii_only: escape all other letters, so that a terminal of any encoding can hold it.
    """
    return plain.to_json(records.to_values(result), indent=2, ascii_only=ascii_only)


def from_json(text: str) -> Result:
    """Reads a result back.

    Raises:
      ValueError: the text is no JSON, or a field is unknown, missing or of another type; the error
        names it.
    """
    return records.from_json(Result, text)
