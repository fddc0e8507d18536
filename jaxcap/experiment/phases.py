"""The phases that a config asks for: teacher forcing, then self-critical training."""

import functools
from collections.abc import Callable, Collection
from typing import Any

import jax
from ml_collections import ConfigDict

from jaxcap import parallel
from jaxcap.decoding.rules import make_plain_rules
from jaxcap.experiment.build import Experiment, choose_selection
from jaxcap.experiment.stages import assign_first_steps
from jaxcap.training import self_critical
from jaxcap.training.capacity import choose_words
from jaxcap.training.objectives import PolicyGradient, TeacherForcing
from jaxcap.training.optim import build_optimizer, build_schedule
from jaxcap.training.phases import Phase
from jaxcap.training.self_critical import SelfCriticalStep
from jaxcap.training.spans import Resident, scan_steps
from jaxcap.training.stacking import Stacking, step_each
from jaxcap.training.train_step import Objective, create_state, train_step


def build_phases(
    experiment: Experiment, steps_per_epoch: int, resident: Resident | None = None
) -> list[Phase]:
    """Builds the phases of a run, those of no epoch left out.

    Args:
      experiment: the run.
      steps_per_epoch: of training.
      resident: what teacher forcing reads on the devices; None: the host reads its batches.
        Self-critical training, whose captions the host scores, always does that.
    """
    config = experiment.config
    select = choose_selection(config, experiment.splits["val"])
    phases = [_build_teacher_forcing(experiment, steps_per_epoch, select, resident)]
    # Where CIDEr-D cannot choose the best epoch, it cannot reward either.
    if config.self_critical.epochs and select == config.train.select:
        phases.append(_build_self_critical(experiment, steps_per_epoch, select))
    return phases


def count_epochs(phases: list[Phase]) -> int:
    """Returns how many epochs a run has at most."""
    return sum(phase.epochs for phase in phases)


def count_averaged_positions(config: ConfigDict) -> int:
    """Returns the positions of a caption that the loss is averaged over; 0 for its words."""
    return config.text.max_length if config.loss.average == "positions" else 0


def _build_teacher_forcing(
    experiment: Experiment, steps_per_epoch: int, select: str, resident: Resident | None
) -> Phase:
    config = experiment.config
    schedule = build_schedule(config.train, steps_per_epoch)
    first_steps = assign_first_steps(config, experiment.params, steps_per_epoch)
    optimizer = build_optimizer(
        config.train, schedule, experiment.rates, experiment.row_rates, first_steps=first_steps
    )
    objective = TeacherForcing(
        positions=count_averaged_positions(config),
        label_smoothing=config.loss.label_smoothing,
        doubly_stochastic=config.loss.doubly_stochastic,
    )
    if resident is None:
        build_step = functools.partial(compile_step, experiment, objective, optimizer)
    else:
        build_step = functools.partial(compile_span, experiment, objective, optimizer, resident)
    return Phase(
        build_step=build_step,
        create_state=_state_creator(experiment, optimizer),
        schedule=schedule,
        epochs=config.train.epochs,
        patience=config.train.patience,
        select=select,
        span=resident.span if resident else 0,
    )


def _build_self_critical(experiment: Experiment, steps_per_epoch: int, select: str) -> Phase:
    config = experiment.config
    section = config.self_critical
    train = {
        **config.train,
        "learning_rate": section.learning_rate,
        "schedule": "constant",
        "warmup_steps": 0,
    }
    schedule = build_schedule(train, steps_per_epoch)
    first_steps = assign_first_steps(config, experiment.params, steps_per_epoch)
    optimizer = build_optimizer(
        train, schedule, experiment.rates, experiment.row_rates, first_steps=first_steps
    )
    rules = make_plain_rules(config.text)
    objective = PolicyGradient(rules.token_mask(len(experiment.vocabulary)))
    model = self_critical.without_word_dropout(experiment.model)
    sample = self_critical.compile_sampling(model, rules, section.captions)

    def build_step(stacking: Stacking) -> SelfCriticalStep:
        return SelfCriticalStep(
            sample=sample,
            update=compile_step(
                experiment, objective, optimizer, stacking, model, own=("tokens", "advantages")
            ),
            references=experiment.captions["train"].tokens,
            vocabulary=experiment.vocabulary,
            stacking=stacking,
        )

    return Phase(
        build_step=build_step,
        create_state=_state_creator(experiment, optimizer),
        schedule=schedule,
        epochs=section.epochs,
        patience=0,
        select=select,
    )


def compile_step(
    experiment: Experiment,
    objective: Objective,
    optimizer: Any,
    stacking: Stacking,
    model: Any = None,
    own: Collection[str] = (),
) -> Callable:
    """Compiles `train_step` for all devices.

    Args:
      experiment: the run.
      objective: what the step minimises.
      optimizer: from `build_optimizer`.
      stacking: of the replicas, or of the one model.
      model: another than the experiment's.
      own: arrays of the batch that replicas do not share even where they share their photos.
    """
    step = _bind_step(experiment, objective, optimizer, model or experiment.model)
    return parallel.compile_train_step(
        step_each(step, stacking, own),
        choose_words,
        lambda name: int(stacking.is_stacked(name, own)),
    )


def compile_span(
    experiment: Experiment,
    objective: Objective,
    optimizer: Any,
    resident: Resident,
    stacking: Stacking,
) -> Callable:
    """Compiles spans of `train_step` for all devices.

    Args:
      experiment: the run.
      objective: what the steps minimise.
      optimizer: from `build_optimizer`.
      resident: what they read on the devices.
      stacking: of the replicas, or of the one model.
    """
    step = _bind_step(experiment, objective, optimizer, experiment.model)
    compiled = parallel.compile_train_step(
        scan_steps(step_each(step, stacking), resident.name),
        image_axis=lambda name: 1 + int(stacking.is_stacked(name)),
    )

    def take_steps(state: Any, frozen: Any, plan: Any, **chosen: int) -> Any:
        return compiled(state, (frozen, resident.arrays), plan, **chosen)

    return take_steps


def _bind_step(
    experiment: Experiment, objective: Objective, optimizer: Any, model: Any
) -> Callable:
    return functools.partial(
        train_step,
        model=model,
        optimizer=optimizer,
        objective=objective,
        ema_decay=experiment.config.train.ema_decay,
    )


def _state_creator(experiment: Experiment, optimizer: Any) -> Callable:
    ema = experiment.config.train.ema_decay > 0
    # Compiled, because each array by itself would be traced and compiled for its shape.
    return jax.jit(functools.partial(create_state, optimizer=optimizer, ema=ema))
