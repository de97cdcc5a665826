"""From a device to its passport: plan, measure through a session, estimate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hwloop.calibration.figure_table import FigureLine, described, figure_lines
from hwloop.device import Device, DeviceSpec
from hwloop.device.spec import Float64Array
from hwloop.html_report.summary import summary
from hwloop.passport.capacity import Capacity, Samples, StateSpace, capacity, remembered
from hwloop.passport.drive import Drive, drive_of
from hwloop.passport.figures import GROUPS
from hwloop.passport.forecast import TaskForecast, row_tasks, task_forecasts
from hwloop.passport.plan import ALIKE, PassportPlan, plan_passport
from hwloop.passport.responses import Repeats, effective_dimension, rank_above_noise
from hwloop.probing.statistics import CONFIDENCE, Estimate
from hwloop.session import Forecast, Session

if TYPE_CHECKING:
    from hwloop.events import Listener
    from hwloop.journal import Journal

DEGREES = 4
LONGEST_DELAY = 60
BEYOND = 5  # delays after the last at which a single input was seen: products may reach a little further
JITTER = 0.05  # of the half range, for inputs that are alike


@dataclass(frozen=True, eq=False)
class Passport:
    """What :func:`characterise` found.

    Attributes
    ----------
    identity, spec, driven
        Of the device, and how it was driven, in words.
    plan
        Rows of each part.
    amplitude
        Of the inputs, in half ranges.
    capacity
        Capacities by degree and delay.
    figures
        By name; :data:`hwloop.passport.figures.GROUPS` says what each is.
    singular_values
        Of the centred states of the stream, each node over its spread, the largest first.
    forecasts
        Predicted scores, a task each.
    interrupted_at
        The row, from 0, at which an interrupted one went on; 0 for one that was not.
    """

    identity: str
    spec: DeviceSpec
    driven: str
    remembers: bool
    plan: PassportPlan
    seed: int
    amplitude: float
    capacity: Capacity
    figures: dict[str, Estimate]
    singular_values: Float64Array
    forecasts: tuple[TaskForecast, ...] = ()
    interrupted_at: int = 0
    notes: tuple[str, ...] = field(default=())

    @cached_property
    def warnings(self) -> list[str]:
        """What limits the figures; empty if nothing does."""
        found, capacities = list(self.notes), self.capacity
        if self.plan.nodes < self._nodes:
            found.append(
                f"{self.plan.nodes:,} of {self._nodes:,} nodes were used, drawn by lot: more need more samples "
                "(--budget)"
            )
        for degree in np.flatnonzero(capacities.below_zero) + 1:
            missed = float(capacities.below_zero[degree - 1])
            found.append(
                f"degree {degree} came out {missed:.3g} below zero, which no capacity is: so much is chance, and "
                "it counts as 0; more rows (--budget) or fewer degrees (--degrees) tell more"
            )
        if float(capacities.total.high) < 0.8 * capacities.rank:
            found.append(
                f"at most {float(capacities.total.high):.0f} of {capacities.rank} independent outputs were found "
                f"in functions of degree 1 to {len(capacities.by_degree.value)}; the rest is noise, or functions "
                "of higher degrees (--degrees)"
            )
        if self.interrupted_at:
            found.append(f"it was interrupted, and went on at row {self.interrupted_at:,}: drift spans the break")
        return found

    @property
    def _nodes(self) -> int:
        return int(self.figures["nodes"].value)

    @property
    def lines(self) -> list[FigureLine]:
        """A line a figure."""
        return figure_lines(self.figures, GROUPS)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: every figure with its interval and meaning, and the whole table of capacities."""
        found = self.capacity
        return {
            "identity": self.identity,
            "spec": self.spec.as_dict(),
            "driven": self.driven,
            "rows": self.plan.rows,
            "seed": self.seed,
            "amplitude": self.amplitude,
            "confidence": CONFIDENCE,
            "interrupted_at": self.interrupted_at,
            "warnings": self.warnings,
            "figures": {name: described(name, each, GROUPS) for name, each in self.figures.items()},
            "capacity": {
                "samples": found.samples,
                "independent_states": found.rank,
                "linear_by_delay": found.linear.as_dict(),
                "by_degree": found.by_degree.as_dict(),
                "by_degree_and_longest_delay": found.table.as_dict(),
                "functions": found.functions.tolist(),
            },
            "singular_values": self.singular_values.tolist(),
            "forecasts": [each.as_dict() for each in self.forecasts],
        }

    def _repr_html_(self) -> str:
        lines = [(each.group, each.title, each.value, each.unit, each.meaning) for each in self.lines]
        return summary(
            f"Passport of {self.identity}",
            {"rows measured": f"{self.plan.rows:,}", "driven": self.driven},
            ("", "figure", "value", "unit", "meaning"),
            lines,
            "; ".join(self.warnings),
        )


def characterise(
    device: Device,
    budget: int | None = None,
    *,
    drive: Drive | None = None,
    degrees: int = DEGREES,
    delays: int | None = None,
    amplitude: float = 1.0,
    tasks: Sequence[Any] = (),
    seed: int = 0,
    listeners: Sequence[Listener] = (),
    announce: Callable[[PassportPlan, Forecast], None] | None = None,
    journal: Journal | None = None,
) -> Passport:
    """Measure what a device computes and remembers, before anything is trained on it.

    Parameters
    ----------
    device
        Any device; it is opened, and closed to its safe state. Stimuli stay within its limits.
    budget
        Rows to measure at most; ``None`` for at most 5,000.
    drive
        How it is driven; ``None`` for :func:`hwloop.passport.drive_of`.
    degrees, delays
        Of the polynomials, and how many steps are looked back; ``None`` for as many as are seen, at most
        :data:`LONGEST_DELAY`.
    amplitude
        Of the random inputs, in half ranges, above 0 and at most 1.
    tasks
        Datasets whose score is predicted (:mod:`hwloop.passport.forecast`).
    seed
        Of the inputs, the surrogates and the bootstrap.
    listeners, journal
        As of :func:`hwloop.calibration.calibrate`.
    announce
        Called with the plan and its forecast before the first row.

    Raises
    ------
    BudgetExceeded
        The budget is too small; nothing was measured.
    ConfigError
        A task does not suit the device; nothing was measured.
    DeviceError, JournalError
        As ``calibrate``.
    """
    if not 0 < amplitude <= 1 or not 1 <= degrees <= 8:
        raise ValueError(f"amplitude is above 0 and at most 1, degrees 1 to 8, not {amplitude} and {degrees}")
    way = drive_of(device) if drive is None else drive
    own_rows = row_tasks(tasks, way)
    plan = plan_passport(way, budget, len(own_rows))
    session = Session(device, journal=journal, budget=plan.rows, listeners=listeners)
    if announce is not None:
        announce(plan, session.forecast(plan.rows))
    recorded = session.journal.rows
    rng = np.random.default_rng(seed)
    with session:
        measured = _measure(way, plan, session, amplitude, rng)
        answers = {
            name: session.measure(task.stimuli(plan.task_rows // len(own_rows), device.spec, seed), "calibrate")
            for name, task in own_rows.items()
        }
        identity = session.identity
    chosen = np.sort(np.random.default_rng(seed).permutation(way.nodes)[: plan.nodes])
    samples = Samples(measured.inputs, measured.states[..., chosen])
    space = StateSpace(samples.rows)
    looked_back = _delays(samples, space, degrees, delays)
    held = capacity(samples, degrees, looked_back, seed)
    spread = measured.repeats.spread
    live = spread > 0
    flat = measured.states.reshape(-1, way.nodes)
    values = np.linalg.svd((flat - flat.mean(axis=0))[:, live] / spread[live], compute_uv=False)
    return Passport(
        identity=identity,
        spec=device.spec,
        driven=way.described(),
        remembers=way.remembers,
        plan=plan,
        seed=seed,
        amplitude=amplitude,
        capacity=held,
        figures=_figures(way, measured, held, seed),
        singular_values=values,
        forecasts=task_forecasts(tasks, way, samples, space, amplitude, answers, seed),
        interrupted_at=recorded if 0 < recorded < plan.rows else 0,
    )


@dataclass(frozen=True, eq=False)
class _Measured:
    inputs: Float64Array  # of the stream
    states: Float64Array
    alike: Float64Array  # (samples, nodes)
    repeats: Repeats


def _measure(
    drive: Drive, plan: PassportPlan, session: Session, amplitude: float, rng: np.random.Generator
) -> _Measured:
    """The stream with its first sequences twice, the inputs that are alike, and the first ones at the end."""
    shape = (drive.steps, drive.channels)
    inputs = rng.uniform(-1.0, 1.0, (plan.stream, *shape))
    centre = rng.uniform(-1.0, 1.0, drive.channels)  # held over the steps, so that every past is alike
    near = np.clip(centre + JITTER * rng.uniform(-1.0, 1.0, (plan.alike, *shape)), -1.0, 1.0)

    def measure(stimuli: Float64Array) -> Float64Array:
        return session.measure(stimuli, "calibrate")

    def states(sequences: Float64Array) -> Float64Array:
        return drive.states(amplitude * sequences, measure)

    drive.begin(amplitude * inputs, measure)
    begin = inputs[: plan.repeated]
    first, again = states(begin), states(begin)
    stream = np.concatenate([first, states(inputs[plan.repeated :])]) if plan.stream > plan.repeated else first
    nodes = drive.nodes
    alike, last = states(near).reshape(-1, nodes)[:ALIKE], states(begin)
    spread = stream.reshape(-1, nodes).std(axis=0)
    spread = np.where(spread > 1e-12 * np.abs(stream).max(initial=0.0), spread, 0.0)
    one, two, three = (part.reshape(-1, nodes) for part in (first, again, last))
    return _Measured(inputs, stream, alike, Repeats(one, two, three, spread))


def _delays(samples: Samples, space: StateSpace, degrees: int, asked: int | None) -> int:
    longest = samples.first + 1
    if asked is not None:
        return min(asked, longest)
    longest = min(longest, LONGEST_DELAY)
    return min(longest, remembered(samples, space, degrees, longest) + BEYOND)


def _figures(drive: Drive, measured: _Measured, held: Capacity, seed: int) -> dict[str, Estimate]:
    nodes, repeats = drive.nodes, measured.repeats
    flat = measured.states.reshape(-1, nodes)
    alike = measured.alike
    different = flat[np.linspace(0, len(flat) - 1, len(alike)).astype(np.int64)]
    figures: Mapping[str, Estimate] = {
        "nodes": Estimate.exact(nodes),
        "independent": Estimate.exact(held.rank),
        "capacity": held.total,
        "memory": held.memory,
        "nonlinear": held.nonlinear,
        "reach": held.reach,
        "kernel_rank": rank_above_noise(different, repeats),
        "generalisation_rank": rank_above_noise(alike, repeats),
        "effective_dimension": effective_dimension(flat),
        **repeats.figures(seed),
    }
    return {name: each for name, each in figures.items() if drive.remembers or name != "reach"}
