"""The checks of a result on a few validation photos, captioned greedily for the purpose."""

from collections.abc import Callable, Sequence
from typing import Any

from jaxcap.checks import outcome
from jaxcap.checks.finding import Finding
from jaxcap.data.split import Split
from jaxcap.decoding.captions import Caption, write_captions
from jaxcap.evaluation.baselines import repeat_most_common, shuffle_captions
from jaxcap.experiment.run import Run
from jaxcap.inputs.batches import Inputs
from jaxcap.scores import bleu, cider, tokenizer

PHOTOS = 200  # at most
_FEWEST = 10  # photos that scores are computed of


def check_captions(
    run: Run, search: Callable, params: Any, inputs: Inputs, val: Split, train: Split | None
) -> list[Finding]:
    """Captions the first photos of the validation split and checks what comes.

    Args:
      run: whose words and config count.
      search: compiled greedy search.
      params: the captioner's.
      inputs: of `val`.
      val: the validation split.
      train: the training split, for its most common caption; None where it is not there.
    """
    photos = min(PHOTOS, len(val))
    batch_size = run.config.train.batch_size  # that of validation, which is compiled already
    captions = list(write_captions(search, params, inputs, photos, batch_size, run.vocabulary))
    words = [caption.words for caption in captions]
    attentions = [caption.attention for caption in captions]
    findings = [
        outcome.check_variety(words),
        outcome.check_ends(words, run.config.text.max_length),
        outcome.check_attention(outcome.measure_change(attentions)),
    ]
    if photos >= _FEWEST:
        findings.append(_check_scores(captions, val, train))
    return [finding for finding in findings if finding is not None]


def _check_scores(captions: Sequence[Caption], val: Split, train: Split | None) -> Finding | None:
    """Scores captions beside those of the baselines that cost nothing."""
    ours = [" ".join(caption.words) for caption in captions]
    references = val.captions[: len(ours)]
    made = [shuffle_captions(ours)]
    if train is not None:
        made.append(repeat_most_common(train, len(ours)))
    floors = {}
    for baseline in made:
        floors[baseline.name] = _score(baseline.captions, references)
    return outcome.check_floor(_score(ours, references), floors)


def _score(captions: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    """Returns the scores that `outcome.check_floor` compares."""
    ours = [tokenizer.ptb_tokenize(caption) for caption in captions]
    theirs = [[tokenizer.ptb_tokenize(text) for text in texts] for texts in references]
    scores: dict[str, float] = {}
    for metric in (bleu, cider):
        values = metric.from_statistics(metric.statistics(ours, theirs).sum(0))
        scores |= dict(zip(metric.NAMES, values.tolist(), strict=True))
    return scores
