"""The training step and the evaluation step, as pure functions of a state of arrays."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from jaxcap.models.captioner import Captioner
from jaxcap.models.positions import find_positions
from jaxcap.training.losses import target_mask
from jaxcap.training.objectives import Batch, Metrics, Term, measure_loss
from jaxcap.training.partition import combine

# Takes what the model returns, a tuple, and the batch: (logits, attention, batch) for a captioner.
Objective = Callable[..., tuple[list[Term], Metrics]]


class TrainState(flax.struct.PyTreeNode):
    """All that training changes. Frozen parameters are no part of it.

    Attributes:
      step: int32 scalar, updates made so far.
      params: the trainable parameters, as `partition` returns them.
      opt_state: the optimizer's.
      ema: exponential moving average of `params` (Polyak and Juditsky 1992), or None.
    """

    step: jax.Array
    params: Any
    opt_state: Any
    ema: Any = None

    @property
    def eval_params(self) -> Any:
        """The trainable parameters to evaluate with: the average, if there is one."""
        return self.params if self.ema is None else self.ema


def create_state(params: Any, optimizer: optax.GradientTransformation, *, ema: bool) -> TrainState:
    """Returns the state before the first step; with `ema`, the average starts at `params`.

    Args:
      params: the trainable parameters. They are copied, because the first step donates its state.
      optimizer: from `optim.build_optimizer`.
      ema: keep a moving average.
    """
    params = jax.tree.map(jnp.copy, params)
    return TrainState(
        # A weakly typed step would compile the training step a second time.
        step=jnp.zeros((), jnp.int32),
        params=params,
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params) if ema else None,
    )


def train_step(
    state: TrainState,
    frozen: Any,
    batch: Batch,
    *,
    model: Any,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    seed: int,
    ema_decay: float = 0.0,
    words: int | None = None,
    axis_name: str | None = None,
) -> tuple[TrainState, Metrics]:
    """Makes one update.

    Args:
      state: before the update.
      frozen: the other parameters, from `partition`.
      batch: this device's share of arrays [B, ...]: for a captioner "tokens" [B, C, T + 1] with
        what `Captioner.regions` reads, and whatever the objective reads.
      model: a linen module that is called with a batch and one random key a photo, [B]: the
        captioner, or what trains a denoiser.
      optimizer: from `optim.build_optimizer`.
      objective: from `objectives`.
      seed: of the keys; each step's key follows from it and the state's step.
      ema_decay: of the moving average.
      words: predict at so many positions, which must be enough for all words of `batch`; None: at
        all of them. It changes no number, but padding is not computed.
      axis_name: the mapped axis of the devices, or None outside of a map.

    Returns:
      The new state and global (sum, count) pairs: the objective's, and "gradient_norm", of all
      gradients of `state.params` before clipping, whether their parameters rest or not.
    """
    psum = _psum_over(axis_name)
    key = jax.random.fold_in(jax.random.key(seed), state.step)
    keys = per_image_keys(key, len(jax.tree.leaves(batch)[0]), axis_name)
    batch = _predict_words(batch, words)

    def compute_loss(params: Any) -> tuple[jax.Array, Metrics]:
        outputs = model.apply({"params": combine(params, frozen)}, batch, keys)
        terms, metrics = objective(*outputs, batch)
        loss = jnp.zeros(())
        for term in terms:
            # Counts do not depend on the parameters, so this psum adds nothing to the gradient.
            loss += term.weight * term.total / jnp.maximum(psum(term.count), 1)
        return loss, metrics

    # The psum of the gradients stands outside of the derivative; inside, it would multiply them by
    # the number of devices.
    grads, metrics = psum(jax.grad(compute_loss, has_aux=True)(state.params))
    # Some optimizers ask for the run's step: their own count begins anew with each phase.
    update = optax.with_extra_args_support(optimizer).update
    updates, opt_state = update(grads, state.opt_state, state.params, step=state.step)
    params = optax.apply_updates(state.params, updates)
    ema = None
    if state.ema is not None:
        # EMA warm-up: the decay ramps up over the first steps.
        decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
        ema = jax.tree.map(lambda e, p: e + (1 - decay) * (p - e), state.ema, params)
    metrics["gradient_norm"] = (optax.tree.norm(grads), jnp.ones(()))
    return TrainState(state.step + 1, params, opt_state, ema), metrics


def eval_step(
    params: Any,
    batch: Batch,
    *,
    model: Captioner,
    positions: int = 0,
    words: int | None = None,
    axis_name: str | None = None,
) -> Metrics:
    """Measures teacher forcing on a batch, without dropout.

    Args:
      params: all of them, from `combine`.
      batch: as of `train_step`.
      model: the captioner.
      positions: see `objectives.TeacherForcing`.
      words: as of `train_step`.
      axis_name: the mapped axis of the devices, or None outside of a map.

    Returns:
      The global pairs of `objectives.measure_loss`.
    """
    batch = _predict_words(batch, words)
    logits, _ = model.apply({"params": params}, batch)
    return _psum_over(axis_name)(measure_loss(logits, batch, positions))


def measure_step(
    params: Any, batch: Batch, *, model: Any, objective: Objective, axis_name: str | None = None
) -> Metrics:
    """Measures on a batch, without random keys, what an objective measures in training.

    Args:
      params: all of them, from `combine`.
      batch: as of `train_step`.
      model: as of `train_step`.
      objective: as of `train_step`.
      axis_name: the mapped axis of the devices, or None outside of a map.

    Returns:
      The global pairs of the objective.
    """
    _, metrics = objective(*model.apply({"params": params}, batch), batch)
    return _psum_over(axis_name)(metrics)


def per_image_keys(key: jax.Array, images: int, axis_name: str | None = None) -> jax.Array:
    """Returns one key a photo [B], by its index in the global batch, whatever the devices are."""
    indices = jnp.arange(images)
    if axis_name is not None:
        indices += jax.lax.axis_index(axis_name) * images
    return jax.vmap(lambda index: jax.random.fold_in(key, index))(indices)


def _predict_words(batch: Batch, words: int | None) -> Batch:
    """Names, in a batch, the positions that hold its words."""
    if words is None:
        return batch
    mask = target_mask(batch["tokens"][..., 1:])
    return {**batch, "positions": find_positions(mask, words)}


def _psum_over(axis_name: str | None) -> Callable[[Any], Any]:
    # One device has nothing to add, and would copy all gradients.
    if axis_name is None or jax.lax.psum(1, axis_name) == 1:
        return lambda tree: tree
    return lambda tree: jax.lax.psum(tree, axis_name)
