"""What an experiment file may say: the tables and keys of its TOML, with their types and defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

from hwloop.reference import Reference

MAX_SEEDS = 1_000
MAX_STAGES = 100
MAX_COPIES = 1_000
MAX_WIDTH = 1_000_000
WEIGHTS = r"^(float|binary|ternary|dorefa:([1-9]|1[0-6]))$"  # what hwloop.layers.precision knows, without torch
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Table(BaseModel):
    """A table of an experiment file: an unknown key is an error, and a boolean is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Part(Table):
    """A dataset, device or trainer: its name and the settings that it takes; a bare name will do."""

    name: Annotated[str, Field(min_length=1)]
    settings: dict[str, JsonValue] = {}

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given


class DevicePart(Part):
    """A device; with ``copies`` so many equal ones that share its rows, see :class:`hwloop.devices.pool.Pool`."""

    copies: Annotated[int, Field(ge=1, le=MAX_COPIES)] | None = None


class NetworkConfig(Table):
    """Stages of the network; all are alike.

    ``activation`` follows the digital map of every stage but a readout: ``"none"`` is the linear interface,
    where every nonlinearity is physical, ``"relu"`` the relu interface. ``input_scaling`` is the first stage's:
    one scale for all features, or one for each (features of different units). ``weights`` is the precision of the
    digital maps: ``float``, ``binary``, ``ternary`` or ``dorefa:<bits>``. With ``sequence_steps`` above 1 a row
    of the dataset is a sequence of so many steps, which the first stage's device takes in order, in one row.
    """

    stages: Annotated[int, Field(ge=1, le=MAX_STAGES)] = 2
    width: Annotated[int, Field(ge=1, le=MAX_WIDTH)] = 100
    activation: Literal["none", "relu"] = "none"
    bypass: bool = False
    reference_slots: Annotated[int, Field(ge=0)] | None = None
    input_scaling: Literal["global", "channel"] = "global"
    weights: Annotated[str, Field(pattern=WEIGHTS)] = "float"
    sequence_steps: Annotated[int, Field(ge=1, le=MAX_WIDTH)] = 1


class SplitConfig(Table):
    """Fractions of the dataset's rows; the rest is what the network trains on."""

    test: Fraction = 0.25
    validation: Fraction = 0.0

    @model_validator(mode="after")
    def _something_left(self) -> Self:
        if self.test + self.validation >= 1:
            raise ValueError(f"test and validation together take {self.test + self.validation:g} of all rows")
        return self


class EvidenceConfig(Table):
    """What a run measures and computes beside its own accuracy.

    ``floors`` also turns the digital ceiling on or off. ``response_rows`` rows sweep the device for the
    report's response plot, once a run (purpose ``calibrate``); 0 for none.
    """

    floors: bool = True
    response_rows: Annotated[int, Field(ge=0, le=10_000)] = 0


class JournalConfig(Table):
    """How a run is recorded: at most ``sync_seconds`` may pass before a row survives a loss of power."""

    sync_seconds: Annotated[float, Field(ge=0, le=3600)] = 1.0


class ReferenceConfig(Table):
    """Reference stimuli that show whether a device moves; see :class:`hwloop.reference.Reference`.

    A file without this table measures none.
    """

    every_rows: Annotated[int, Field(ge=0)] = 1000
    stimuli: Annotated[int, Field(ge=4, le=10_000)] = 8
    limit: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    on_drift: Literal["warn", "pause", "restandardise"] = "warn"
    passes: Annotated[int, Field(ge=4, le=1000)] = 4
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0

    def settings(self) -> Reference:
        """The same for a session."""
        return Reference(**self.model_dump())


class ReuseConfig(Table):
    """Earlier runs whose rows need not be measured again on the same device under the same settings.

    ``runs`` are their folders. A row older than ``max_age_seconds`` when the run begins is measured again.
    """

    runs: list[Annotated[str, Field(min_length=1)]] = []
    max_age_seconds: Annotated[float, Field(gt=0)] | None = None


class RunConfig(Table):
    """What a run leaves beside its own files: curves for TensorBoard, which is an extra."""

    tensorboard: bool = False


class MeasuredWith(Table):
    """With which device a run measured a seed, as :meth:`hwloop.device.DeviceDescription.as_dict` gives it.

    A run writes these tables into its own ``run.toml``; who runs that file again measures with the same devices.
    """

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    device: Annotated[int, Field(ge=0, le=MAX_STAGES)]
    description: dict[str, JsonValue]


class ExperimentConfig(Table):
    """An experiment: what is trained, on what, with which device, and how often.

    ``device`` is one for all stages or a list of one a stage. ``seeds`` is a number n (seeds 0 to n - 1) or
    the seeds themselves. ``budget`` is the number of rows that the whole run, all seeds together, may measure.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
    description: str = ""
    dataset: Part
    device: list[DevicePart]
    trainer: Part
    network: NetworkConfig = NetworkConfig()
    split: SplitConfig = SplitConfig()
    seeds: list[Annotated[int, Field(ge=0, lt=2**63)]] = [0]
    budget: Annotated[int, Field(ge=1)] | None = None
    evidence: EvidenceConfig = EvidenceConfig()
    journal: JournalConfig = JournalConfig()
    reference: ReferenceConfig | None = None
    run: RunConfig = RunConfig()
    reuse: ReuseConfig = ReuseConfig()
    measured_with: list[MeasuredWith] = []

    @field_validator("device", mode="before")
    @classmethod
    def _one_device(cls, given: Any) -> Any:
        return given if isinstance(given, list) else [given]

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted_seeds(cls, given: Any) -> Any:
        if isinstance(given, bool) or not isinstance(given, int):
            return given
        if not 1 <= given <= MAX_SEEDS:
            raise ValueError(f"the number of seeds must be 1 to {MAX_SEEDS}, not {given}")
        return list(range(given))

    @field_validator("seeds")
    @classmethod
    def _distinct_seeds(cls, seeds: list[int]) -> list[int]:
        if not seeds or len(set(seeds)) != len(seeds) or len(seeds) > MAX_SEEDS:
            raise ValueError(f"must be 1 to {MAX_SEEDS} different seeds")
        return seeds

    @model_validator(mode="after")
    def _device_for_every_stage(self) -> Self:
        if len(self.device) not in (1, self.network.stages):
            raise ValueError(
                f"{len(self.device)} devices for {self.network.stages} stages: give one, or one a stage"
            )
        return self

    def as_table(self) -> dict[str, Any]:
        """The configuration as an experiment file would hold it, every default written out.

        What an earlier run was measured with is no part of it.
        """
        table = self.model_dump(exclude_none=True, exclude={"measured_with"})
        if len(self.device) == 1:
            table["device"] = table["device"][0]
        return table
