"""Self-critical training: the captioner learns from the CIDEr-D of captions that it draws itself.

Rennie et al., "Self-critical Sequence Training for Image Captioning" (2017,
https://arxiv.org/abs/1612.00563). What a caption has to beat is the mean of the photo's other draws
instead of the greedy caption (Luo, "A Better Variant of Self-Critical Sequence Training", 2020,
https://arxiv.org/abs/2003.09971): no extra search, and no bias either.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxcap import decoding, parallel
from jaxcap.decoding import captioning
from jaxcap.experiment.build import Experiment
from jaxcap.models.captioner import Captioner
from jaxcap.scores.cider import Scorer
from jaxcap.text import PAD, START, Vocabulary
from jaxcap.training import optim
from jaxcap.training import train_step as steps
from jaxcap.training.checkpoint import Checkpoints
from jaxcap.training.loop import Loop, Progress

SILENT = {"word_dropout": 0.0, "hidden_dropout": 0.0}
PLAIN_LOSS = {"label_smoothing": 0.0, "doubly_stochastic": 0.0}


def turn(
    loop: Loop,
    run: Experiment,
    checkpoints: Checkpoints,
    state: steps.TrainState,
    progress: Progress,
) -> tuple[Loop, steps.TrainState]:
    """Turns a run that has learnt from its data's captions to learning from its own.

    Args:
      loop: of the epochs before.
      run: the experiment.
      checkpoints: of the run, one of them the best.
      state: the latest.
      progress: what the loop remembers; from now on also that the run has turned.

    Returns:
      The loop of the epochs to come, and the state that it begins with: the parameters of the best
      epoch, averaged where the run averages, with an optimiser that remembers nothing. A run that
      was stopped after its turn goes on with `state`.
    """
    config = run.config
    epoch = int(state.step) // len(loop.batches) if progress.turned is None else progress.turned
    section = {
        "epochs": epoch + config.self_critical.epochs,
        "learning_rate": config.self_critical.learning_rate,
    }
    train = (
        config.train.to_dict()
        | section
        | {"schedule": "constant", "warmup_steps": 0, "patience": 0}
    )
    optimizer = optim.optimizer(train, len(loop.batches), run.frozen)
    if progress.turned is None:
        best, _ = checkpoints.restore(checkpoints.best_step(), state, run.frozen)
        fresh = steps.create(
            best.best_params, optimizer, run.frozen, average=config.train.average > 0
        )
        state = fresh.replace(step=state.step)
        progress.turned, progress.finished = epoch, False
    rate = optim.schedule(train, len(loop.batches))
    return dataclasses.replace(
        loop, step=compile_step(run, optimizer), rate=rate, train=train
    ), state


def compile_step(run: Experiment, optimizer: Any) -> "SelfCriticalStep":
    """Compiles drawing and updating for all devices.

    What is judged is what was drawn: regions lose the same channels in both, and nothing else is
    dropped.
    """
    config = run.config
    model = run.model.clone(decoder=run.model.decoder.clone(**SILENT))
    rules = decoding.Rules(config.text.max_length)
    update = functools.partial(
        steps.train_step,
        model=model,
        optimizer=optimizer,
        frozen=run.frozen,
        loss=PLAIN_LOSS,
        average=config.train.average,
        # The distribution that is drawn from. Without this, what makes a bad caption less likely
        # soon is to make <unk> likelier, which is never drawn and so never punished.
        possible=rules.possible(len(run.vocabulary)),
    )
    return SelfCriticalStep(
        compile_draws(model, rules, config.self_critical.captions),
        parallel.compile_train_step(update),
        Scorer(
            [
                [written(run.vocabulary, one) for one in photo if one.any()]
                for photo in run.captions["train"].tokens
            ]
        ),
        run.vocabulary,
    )


def compile_draws(model: Captioner, rules: decoding.Rules, captions: int) -> Callable:
    """Compiles `captioning.draws` for all devices."""
    return parallel.compile_per_image(captioning.draws(model, rules, captions))


@dataclasses.dataclass(frozen=True)
class SelfCriticalStep:
    """One update, with the outside of a compiled `step.train_step`: (state, batch, rng) -> (state,
    metrics).

    Attributes:
      draw: compiled (params, batch) -> hypotheses [B, K, ...] of K captions a photo.
      update: compiled `step.train_step`.
      scorer: by the rows of the training split.
      vocabulary: turns tokens into the words that are scored.
    """

    draw: Callable
    update: Callable
    scorer: Scorer
    vocabulary: Vocabulary

    def __call__(self, state: steps.TrainState, batch: steps.Batch, rng: jax.Array):
        """Draws captions of the batch's photos, scores them, and makes those above their photo's
        mean likelier.

        The metrics are those of `step.train_step`, its nats those of the drawn captions, and
        "reward", the sum over the photos of their draws' mean CIDEr-D.
        """
        photos = {name: batch[name] for name in ("features", "images") if name in batch}
        size = len(batch["rows"])
        seeds = {
            "draw": np.asarray(jax.random.randint(rng, (size,), 0, np.iinfo(np.int32).max)),
            "keys": np.asarray(jax.random.key_data(steps.keys_by_image(rng, size))),
        }
        drawn = np.asarray(self.draw(state.params, photos | seeds).tokens)  # [B, K, T]
        real = (np.asarray(batch["tokens"]) != PAD).any((1, 2))
        drawn = np.where(real[:, None, None], drawn, PAD)  # what fills a batch up counts nowhere
        rewards = np.array(
            [self._score(row, captions) for row, captions in zip(batch["rows"], drawn, strict=True)]
        )
        tokens = np.pad(drawn, ((0, 0), (0, 0), (1, 0)), constant_values=START)  # [B, K, T + 1]
        state, metrics = self.update(
            state, photos | {"tokens": tokens, "weights": advantages(rewards)}, rng
        )
        return state, metrics | {"reward": rewards[real].mean(axis=1).sum()}

    def _score(self, row: int, captions: np.ndarray) -> list[float]:
        """The CIDEr-D of captions [K, T] of a photo."""
        return self.scorer(int(row), [written(self.vocabulary, tokens) for tokens in captions])


def advantages(rewards: np.ndarray) -> np.ndarray:
    """How far each draw is above the mean of the photo's other draws: [B, K] to float32 [B, K]."""
    others = (rewards.sum(axis=1, keepdims=True) - rewards) / (rewards.shape[1] - 1)
    return (rewards - others).astype(np.float32)


def written(vocabulary: Vocabulary, tokens: np.ndarray) -> list[str]:
    """The words of tokens [T], <end> among them: a caption that does not end in time is the worse
    for it.
    """
    return [vocabulary.words[token] for token in tokens.tolist() if token not in (PAD, START)]
