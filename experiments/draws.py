"""What Optuna draws from what trainers, devices and users declare worth searching."""

from __future__ import annotations

from typing import Any

from hwloop.errors import ConfigError
from hwloop.training.tuning import Choice, LogRange, Range

WARM_UP_TRIALS = 6  # drawn at random before the sampler models what it has seen


def new_study(seed: int, higher_is_better: bool = True, warm_up: int = WARM_UP_TRIALS) -> Any:
    """A study of Optuna's tree-structured Parzen estimator: told the same, it draws the same.

    Raises
    ------
    ConfigError
        Optuna is not installed.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=warm_up)
    return optuna.create_study(direction="maximize" if higher_is_better else "minimize", sampler=sampler)


def prune(study: Any, trial: Any) -> None:
    """Tell a study that what a trial drew cannot be run."""
    study.tell(trial, state=_optuna().trial.TrialState.PRUNED)


def drawn(trial: Any, name: str, allowed: LogRange | Range | Choice) -> Any:
    """A value that a trial tries."""
    if isinstance(allowed, Choice):
        return allowed.values[trial.suggest_categorical(name, list(range(len(allowed.values))))]
    if isinstance(allowed, Range) and allowed.whole:
        return trial.suggest_int(name, allowed.low, allowed.high)
    # Three digits say all that a search can know, and are readable in a table.
    found = trial.suggest_float(name, allowed.low, allowed.high, log=isinstance(allowed, LogRange))
    return min(max(float(f"{found:.3g}"), allowed.low), allowed.high)


def told_of(study: Any, values: dict[str, Any], space: dict[str, LogRange | Range | Choice], score: float) -> bool:
    """Tell a study what was found where it did not ask; ``False`` where a value lies outside of the space."""
    if space.keys() != values.keys() or not all(_holds(allowed, values[name]) for name, allowed in space.items()):
        return False
    places = {
        name: allowed.values.index(values[name]) if isinstance(allowed, Choice) else values[name]
        for name, allowed in space.items()
    }
    study.enqueue_trial(places)
    trial = study.ask()
    for name, allowed in space.items():
        drawn(trial, name, allowed)
    study.tell(trial, score)
    return True


def _holds(allowed: LogRange | Range | Choice, value: Any) -> bool:
    if isinstance(allowed, Choice):
        return value in allowed.values
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and allowed.low <= value <= allowed.high


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "tuning needs Optuna: pip install 'hwloop[scale]', or compare the defaults with --trials 1"
        ) from error
    return optuna
