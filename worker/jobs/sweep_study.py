"""What to try next: optuna's samplers over the trials that SQL knows.

A study is rebuilt for each new trial and its sampler is seeded by the sweep's seed and the trial's number: with the
same trials behind it, the next one is the same, whichever process asks.
"""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from app.sweeps.config import SweepConfig
from app.sweeps.repository import TrialRecord
from app.sweeps.space import AnyRange, Choice, IntegerRange, LogUniform, SuccessiveHalving, Tpe, combinations

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial


def next_values(config: SweepConfig, trials: list[TrialRecord], number: int) -> dict[str, Any]:
    """Return the values of trial `number`, given what the others have come to. optuna is imported when first asked.

    Of a space with few combinations none is tried twice: where the sampler repeats one, another takes its place.
    """
    untried = _untried(config, trials)
    every_one = untried is not None and len(trials) + len(untried) <= config.trials
    if untried and every_one:
        return _drawn_from(untried, config, number)
    drawn = _sampled(config, trials, number)
    return _drawn_from(untried, config, number) if untried and _key(drawn) not in map(_key, untried) else drawn


def _untried(config: SweepConfig, trials: list[TrialRecord]) -> list[dict[str, Any]] | None:
    """The combinations that no trial has had; None where the space has more of them than can be listed."""
    every = combinations(config.space)
    if every is None:
        return None
    tried = {_key(trial.values) for trial in trials}
    return [values for values in every if _key(values) not in tried]


def _key(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True)


def _drawn_from(untried: list[dict[str, Any]], config: SweepConfig, number: int) -> dict[str, Any]:
    return untried[int(np.random.default_rng([config.seed, number]).integers(len(untried)))]


def _sampled(config: SweepConfig, trials: list[TrialRecord], number: int) -> dict[str, Any]:
    import optuna  # noqa: PLC0415 - most jobs search nothing

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {field: _distribution(config.space[field]) for field in sorted(config.space)}
    study = optuna.create_study(direction=config.direction, sampler=_sampler(config, number))
    study.add_trials([_frozen_trial(config, trial, space) for trial in trials])
    drawn = study.ask(fixed_distributions=space).params
    return {field: _value(config.space[field], drawn[field]) for field in space}


def _sampler(config: SweepConfig, number: int) -> "BaseSampler":
    import optuna  # noqa: PLC0415 - see above

    seed = int(np.random.SeedSequence([config.seed, number]).generate_state(1)[0])
    algorithm = config.algorithm
    if isinstance(algorithm, Tpe):
        startup = algorithm.startup_trials
    elif isinstance(algorithm, SuccessiveHalving) and algorithm.sampler == "tpe":
        startup = Tpe().startup_trials
    else:
        return optuna.samplers.RandomSampler(seed=seed)
    # A constant liar keeps trials that are under way at once apart.
    return optuna.samplers.TPESampler(n_startup_trials=startup, seed=seed, constant_liar=config.parallel > 1)


def _distribution(entry: AnyRange) -> "BaseDistribution":
    from optuna.distributions import (  # noqa: PLC0415 - see above
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if isinstance(entry, Choice):
        return CategoricalDistribution(range(len(entry.values)))  # by place: a choice may be any JSON
    if isinstance(entry, IntegerRange):
        return IntDistribution(entry.low, entry.high, log=entry.log)
    return FloatDistribution(entry.low, entry.high, log=isinstance(entry, LogUniform))


def _value(entry: AnyRange, drawn: Any) -> Any:
    return entry.values[drawn] if isinstance(entry, Choice) else drawn


def _frozen_trial(config: SweepConfig, trial: TrialRecord, space: "dict[str, BaseDistribution]") -> "FrozenTrial":
    """Return a trial in optuna's form; a pruned one has its metrics at the rungs as intermediate values."""
    from optuna.trial import TrialState, create_trial  # noqa: PLC0415 - see above

    state, value = TrialState.RUNNING, None
    if trial.ended:
        state = TrialState.FAIL
    if trial.pruned:
        state = TrialState.PRUNED
    elif trial.status == "succeeded":
        state, value = TrialState.COMPLETE, trial.metric
    params = {field: _drawn(config.space[field], trial.values[field]) for field in space}
    rungs = dict(enumerate(trial.rungs))
    return create_trial(state=state, value=value, params=params, distributions=space, intermediate_values=rungs)


def _drawn(entry: AnyRange, value: Any) -> Any:
    """The inverse of `_value`. True is not 1 here, though Python calls them equal."""
    if not isinstance(entry, Choice):
        return value
    return next(place for place, choice in enumerate(entry.values) if choice == value and type(choice) is type(value))
