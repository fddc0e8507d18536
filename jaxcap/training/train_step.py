"""The training step and the evaluation step, as pure functions of a state of arrays."""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxcap.models.captioner import Captioner
from jaxcap.training.losses import cross_entropy, doubly_stochastic, real_words

Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]

IMPOSSIBLE = -1e9  # a logit whose word has no probability; finite, for padding multiplies it by 0


@flax.struct.dataclass
class TrainState:
    """All that training changes.

    Attributes:
      step: int32 scalar, updates made so far.
      params: {"encoder": ..., "decoder": ...}, frozen parameters among them.
      opt_state: the optimiser's; it holds nothing for frozen parameters.
      average: moving average of the trained parameters (Polyak and Juditsky 1992), None where they
        are frozen; None in all when the config asks for no average.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    average: Any = None

    @property
    def best_params(self) -> Any:
        """The parameters to evaluate and to caption with: the average where there is one."""
        return self.params if self.average is None else fill(self.average, self.params)


def create(
    params: Any, optimizer: optax.GradientTransformation, frozen: Any, *, average: bool = False
) -> TrainState:
    """Returns the state before the first step; with `average`, a moving average starts at the
    trained parameters.
    """
    # A weakly typed step would compile the training step a second time.
    step = jnp.zeros((), jnp.int32)
    return TrainState(
        step,
        params,
        optimizer.init(params),
        jax.tree.map(jnp.copy, trained(params, frozen)) if average else None,
    )


def trained(params: Any, frozen: Any) -> Any:
    """Returns the tree with None, which JAX takes for no leaf at all, in place of every frozen
    parameter.
    """
    return jax.tree.map(lambda still, p: None if still else p, frozen, params)


def fill(part: Any, params: Any) -> Any:
    """Returns `part`, from `trained`, with its gaps filled from `params`."""
    return jax.tree.map(
        lambda mine, p: p if mine is None else mine, part, params, is_leaf=lambda x: x is None
    )


def train_step(
    state: TrainState,
    batch: Batch,
    rng: jax.Array,
    *,
    model: Captioner,
    optimizer: optax.GradientTransformation,
    frozen: Any,
    loss: Mapping[str, float],
    average: float = 0.0,
    possible: np.ndarray | None = None,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """One update.

    Sums and counts cross the devices and are divided once, so that any number of devices gives the
    same update.

    Args:
      state: before the update.
      batch: this device's share: "tokens" [B, C, T + 1] with "features" [B, L, D] or "images" [B,
        S, S, 3], and "weights" [B, C], which the captions' cross-entropy is multiplied by, where
        they are not all 1.
      rng: one key a step, the same on every device.
      model: the captioner.
      optimizer: from `optim.optimizer`.
      frozen: from `optim.freeze_mask`.
      loss: the config's section `loss`.
      average: decay of the moving average of the parameters.
      possible: bool [V], the words among which the captioner chooses, the others having no
        probability; None for all.
      axis_name: the mapped axis of the devices, or None outside of a map.

    Returns:
      The new state and global sums: "nats" (unsmoothed cross-entropy), "words", "images", and
      "gradient_norm".
    """
    everywhere = _sum_over(axis_name)
    keys = keys_by_image(rng, batch["tokens"].shape[0], axis_name)
    targets = batch["tokens"][..., 1:]
    mask = real_words(targets)
    words = everywhere(mask.sum())
    weighted = mask * batch["weights"][..., None] if "weights" in batch else mask
    captions = everywhere(mask.max(-1).sum())

    def objective(part: Any) -> tuple[jax.Array, jax.Array]:
        logits, attention = model.apply({"params": fill(part, state.params)}, batch, keys)
        if possible is not None:
            logits = jnp.where(possible, logits, IMPOSSIBLE)
        nats, _ = cross_entropy(logits, targets, mask)
        total, _ = cross_entropy(logits, targets, weighted, loss["label_smoothing"])
        value = total / jnp.maximum(words, 1)
        if loss["doubly_stochastic"]:
            missed, _ = doubly_stochastic(attention, mask)
            value += (
                loss["doubly_stochastic"] * missed / jnp.maximum(captions * attention.shape[-1], 1)
            )
        return value, nats

    # Only the trained part is differentiated: nothing flows into a frozen parameter. The psum
    # stands outside of the derivative; inside, it would multiply the gradients by the number of
    # devices.
    part = trained(state.params, frozen)
    grads, nats = everywhere(jax.grad(objective, has_aux=True)(part))
    updates, opt_state = optimizer.update(fill(grads, state.params), state.opt_state, state.params)
    part = jax.tree.map(lambda p, u: (p + u).astype(p.dtype), part, trained(updates, frozen))
    moved = None
    if state.average is not None:
        decay = jnp.minimum(
            average, (1.0 + state.step) / (10.0 + state.step)
        )  # a young average forgets its start
        moved = jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), state.average, part)
    metrics = {
        "nats": nats,
        "words": words,
        "images": everywhere(mask.max((-1, -2)).sum()),
        "gradient_norm": optax.tree.norm(grads),
    }
    return TrainState(state.step + 1, fill(part, state.params), opt_state, moved), metrics


def eval_step(
    params: Any, batch: Batch, *, model: Captioner, axis_name: str | None = None
) -> Metrics:
    """Returns the global sums "nats" and "words" of teacher forcing on a batch, without dropout."""
    everywhere = _sum_over(axis_name)
    logits, _ = model.apply({"params": params}, batch)
    targets = batch["tokens"][..., 1:]
    nats, words = cross_entropy(logits, targets, real_words(targets))
    return everywhere({"nats": nats, "words": words})


def _sum_over(axis_name: str | None):
    return (
        (lambda tree: tree) if axis_name is None else (lambda tree: jax.lax.psum(tree, axis_name))
    )


def keys_by_image(rng: jax.Array, images: int, axis_name: str | None = None) -> jax.Array:
    """One key for each photo [B], by its place in the global batch, so that dropout ignores the
    devices.
    """
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * images
    return jax.vmap(lambda place: jax.random.fold_in(rng, place))(first + jnp.arange(images))
