"""The phases that a config asks for: teacher forcing, then self-critical training."""

from collections.abc import Mapping, Sequence
from typing import Any

import optax
from ml_collections import ConfigDict

from jaxcap.decoding.rules import Rules, make_plain_rules
from jaxcap.experiment.build import Experiment, choose_selection
from jaxcap.experiment.stages import assign_first_steps
from jaxcap.memoize import memoize
from jaxcap.training import self_critical
from jaxcap.training.compiling import bind, compile_create_state, compile_span, compile_step
from jaxcap.training.objectives import PolicyGradient, TeacherForcing
from jaxcap.training.optim import build_optimizer, build_schedule, take_options
from jaxcap.training.phases import Phase, Step
from jaxcap.training.self_critical import SelfCriticalStep
from jaxcap.training.spans import Resident
from jaxcap.training.stacking import Stacking


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
    schedule, optimizer = _build_optimizer(experiment, config.train, steps_per_epoch)
    objective = TeacherForcing(
        positions=count_averaged_positions(config),
        label_smoothing=config.loss.label_smoothing,
        doubly_stochastic=config.loss.doubly_stochastic,
    )
    step = (experiment.model, objective, optimizer, config.train.ema_decay)

    def build_step(stacking: Stacking, seeds: Sequence[int]) -> Step:
        if resident is None:
            return bind(compile_step(*step, stacking), seeds)
        compiled = compile_span(*step, stacking, resident.name)
        return bind(compiled, seeds, arrays=resident.arrays)

    return Phase(
        build_step=build_step,
        create_state=compile_create_state(optimizer, ema=config.train.ema_decay > 0),
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
    schedule, optimizer = _build_optimizer(experiment, train, steps_per_epoch)
    rules = make_plain_rules(config.text)
    objective = _build_policy_gradient(rules, len(experiment.vocabulary))
    model = self_critical.without_word_dropout(experiment.model)
    sample = self_critical.compile_sampling(model, rules, section.captions)

    def build_step(stacking: Stacking, seeds: Sequence[int]) -> SelfCriticalStep:
        update = compile_step(
            model,
            objective,
            optimizer,
            config.train.ema_decay,
            stacking,
            own=("tokens", "advantages"),
        )
        return SelfCriticalStep(
            sample=sample,
            update=bind(update, seeds),
            references=experiment.captions["train"].tokens,
            vocabulary=experiment.vocabulary,
            stacking=stacking,
            seeds=seeds,
        )

    return Phase(
        build_step=build_step,
        create_state=compile_create_state(optimizer, ema=config.train.ema_decay > 0),
        schedule=schedule,
        epochs=section.epochs,
        patience=0,
        select=select,
    )


@memoize
def _build_policy_gradient(rules: Rules, words: int) -> PolicyGradient:
    return PolicyGradient(rules.token_mask(words))


def _build_optimizer(
    experiment: Experiment, train: Mapping[str, Any], steps_per_epoch: int
) -> tuple[optax.Schedule, optax.GradientTransformationExtraArgs]:
    """Builds the schedule and the optimizer of a phase, whose section `train` is given."""
    options = take_options(train)
    schedule = build_schedule(options, steps_per_epoch)
    first_steps = assign_first_steps(experiment.config, experiment.params, steps_per_epoch)
    optimizer = build_optimizer(
        options, schedule, experiment.rates, experiment.row_rates, first_steps=first_steps
    )
    return schedule, optimizer
