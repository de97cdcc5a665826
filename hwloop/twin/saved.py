"""A twin in a file: safetensors, with its description and a checksum of both in the file's own metadata."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from hwloop.device import DeviceSpec
from hwloop.device.settings import flag, whole_number
from hwloop.device.spec import Float64Array
from hwloop.errors import ConfigError
from hwloop.journal.durable_files import atomic_write
from hwloop.twin.candidate import ColumnScaling, Model
from hwloop.twin.device import CandidateScore, ResidualNoise, Twin, TwinReport
from hwloop.twin.linear import AffineModel
from hwloop.twin.mlp import PerceptronModel
from hwloop.twin.modulus import IntensityModel, ModulusModel

KEY, FORMAT = "hwloop_twin", 1
FIGURES = ("r2_uniform", "r2_variance_weighted", "nrmse", "robust_error", "seconds")  # of a candidate

Arrays = Mapping[str, Float64Array]


def save_twin(twin: Twin, path: Path) -> None:
    """Write a twin so that :func:`load_twin` gives the same answers, to the last bit.

    Raises
    ------
    ConfigError
        Its model is of a kind that files do not know.
    """
    from safetensors.numpy import save

    kind, arrays = _model_arrays(twin.model)
    arrays |= {"scaling.centre": twin.scaling.centre, "scaling.spread": twin.scaling.spread}
    if twin.noise is not None:
        parts = {name: getattr(twin.noise, name) for name in ("standardised", "floor", "gain")}
        arrays |= {f"noise.{name}": values for name, values in parts.items()}
    for score in twin.report.candidates:
        arrays[f"r2.{score.name}"] = score.r2_per_output
    arrays = {name: np.ascontiguousarray(values, dtype=np.float64) for name, values in arrays.items()}
    described = {
        "format": FORMAT,
        "kind": kind,
        "seed": twin.seed,
        "spec": twin.spec.as_dict(),
        "report": _report_dict(twin.report),
    }
    text = json.dumps({**described, "sha256": _digest(described, arrays)}, sort_keys=True)
    atomic_write(path, save(arrays, metadata={KEY: text}))


def load_twin(file: str | Path, seed: int | None = None, noise: bool = True) -> Twin:
    """A twin that ``hwloop fit`` wrote: answers as the rig did whose rows it was fitted to.

    Parameters
    ----------
    file
        Its file, ``twin.safetensors``.
    seed
        Of the noise; by default the one that it was fitted with.
    noise
        Whether responses carry the residual noise of the fit; without it the device is deterministic.

    Raises
    ------
    ConfigError
        There is no such file, or it is none of these, or damaged.
    """
    path = Path(file)
    try:
        described, arrays = _read(path)
        twin = _twin_of(described, arrays)
        answer = twin.noiseless()._measure(np.stack([twin.spec.low, twin.spec.high]))
        if answer.shape != (2, twin.spec.n_outputs) or not np.isfinite(answer).all():
            raise ValueError("its parts do not fit together")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file; hwloop fit writes a twin") from error
    except Exception as error:  # a damaged file is met as errors of many kinds
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ConfigError(
            f"{path} is no twin, or a damaged one ({reason}); fit it again with hwloop fit"
        ) from error
    if not flag("noise", noise):
        return twin.noiseless()
    return twin if seed is None else twin.reseeded(whole_number("seed", seed, 0, 2**63 - 1))


load_twin.path_settings = frozenset({"file"})  # type: ignore[attr-defined]  # asked for by the registry


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Float64Array]]:
    from safetensors import safe_open

    path.stat()
    with safe_open(path, framework="numpy") as stored:
        described = json.loads((stored.metadata() or {}).get(KEY, "null"))
        if not isinstance(described, dict):
            raise ValueError("it does not say that it is one")
        arrays = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118  # no mapping
    if described.get("format") != FORMAT:
        raise ValueError(f"format {described.get('format')!r} is not known")
    expected = described.pop("sha256", None)
    if _digest(described, arrays) != expected:
        raise ValueError("its checksum is wrong")
    return described, arrays


def _digest(described: Mapping[str, Any], arrays: Arrays) -> str:
    found = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(arrays):
        found.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        found.update(np.ascontiguousarray(arrays[name]).tobytes())
    return found.hexdigest()


def _twin_of(described: Mapping[str, Any], arrays: Arrays) -> Twin:
    limits = {name: np.asarray(described["spec"][name], dtype=np.float64) for name in ("input_low", "input_high")}
    spec = replace(DeviceSpec(**{**described["spec"], **limits}), row_seconds=None)
    noise = None
    if "noise.floor" in arrays:
        noise = ResidualNoise(arrays["noise.standardised"], arrays["noise.floor"], arrays["noise.gain"])
    scaling = ColumnScaling(arrays["scaling.centre"], arrays["scaling.spread"])
    model = _model_of(described["kind"], arrays)
    report = _report_of(described["report"], arrays)
    return Twin(spec, scaling, model, report, noise, int(described["seed"]))


def _report_dict(report: TwinReport) -> dict[str, Any]:
    return {
        "winner": report.winner,
        "candidates": [
            {"name": each.name, **{name: _plain(getattr(each, name)) for name in FIGURES}}
            for each in report.candidates
        ],
        "fitted_rows": report.fitted_rows,
        "held_out_rows": report.held_out_rows,
        "data_sha256": report.data_sha256,
        "seconds": report.seconds,
    }


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _report_of(found: Mapping[str, Any], arrays: Arrays) -> TwinReport:
    candidates = tuple(
        CandidateScore(
            each["name"],
            arrays[f"r2.{each['name']}"],
            **{name: math.nan if each[name] is None else float(each[name]) for name in FIGURES},
        )
        for each in found["candidates"]
    )
    return TwinReport(**{**found, "candidates": candidates})


def _model_arrays(model: Model) -> tuple[str, dict[str, Float64Array]]:
    """The kind of a model, and what it is made of."""
    if isinstance(model, AffineModel):
        return "linear", {"matrix": model.matrix, "offset": model.offset}
    if isinstance(model, ModulusModel):
        parts = {"matrix": model.matrix, "constant": model.constant}
        real = {f"{name}.real": np.asarray(part.real) for name, part in parts.items()}
        return "modulus", real | {f"{name}.imag": np.asarray(part.imag) for name, part in parts.items()}
    if isinstance(model, IntensityModel):
        return "intensity", _model_arrays(model.field)[1] | {"level": np.array([model.level])}
    if isinstance(model, PerceptronModel):
        layers = {f"weight.{k}": each for k, each in enumerate(model.weights)}
        layers |= {f"bias.{k}": each for k, each in enumerate(model.biases)}
        return "mlp", layers | {"own.centre": model.scaling.centre, "own.spread": model.scaling.spread}
    raise ConfigError(
        f"a twin of a {type(model).__name__} cannot be saved; fit it with the candidates of hwloop fit"
    )


def _model_of(kind: str, arrays: Arrays) -> Model:
    if kind == "linear":
        return AffineModel(arrays["matrix"], arrays["offset"])
    if kind in ("modulus", "intensity"):
        field = ModulusModel(
            *(arrays[f"{name}.real"] + 1j * arrays[f"{name}.imag"] for name in ("matrix", "constant"))
        )
        return field if kind == "modulus" else IntensityModel(field, float(arrays["level"][0]))
    if kind == "mlp":
        layers = range(sum(name.startswith("weight.") for name in arrays))
        return PerceptronModel(
            tuple(arrays[f"weight.{k}"] for k in layers),
            tuple(arrays[f"bias.{k}"] for k in layers),
            ColumnScaling(arrays["own.centre"], arrays["own.spread"]),
        )
    raise ValueError(f"a model of kind {kind!r} is not known")
