"""``hwloop fit``: measured rows become a twin and its passport, and tell whether training would pay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from hwloop.cli.command import LAST_LINE, ProgressKept, json_option, reporting
from hwloop.cli.console import new_console

if TYPE_CHECKING:
    from rich.console import Console

    from hwloop.experiment.evidence import Evidence
    from hwloop.experiments.own_data.pairs import Pairs
    from hwloop.passport import Passport
    from hwloop.passport.measured import MeasuredRows
    from hwloop.twin import Twin

TWIN, DEVICE, PAGE, FIGURES, RUN = "twin.safetensors", "twin.toml", "passport.html", "fit.json", "run"
NO_TASK = "none"


@reporting
def fit(
    kept: ProgressKept,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV, Parquet, ARFF, .npy, .npz, HDF5 or NetCDF.")],
    inputs: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Stimuli: 'x*', a list a,b,c, or how many.", show_default="by name"),
    ] = None,
    outputs: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Responses, in the same way.", show_default="by name")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Folder to write.", show_default="FILE-fit"),
    ] = None,
    task: Annotated[
        str, typer.Option(metavar="NAME", help="Dataset to train the twin on, beside floors; 'none' for none.")
    ] = "digits",
    seeds: Annotated[int, typer.Option(min=1, help="Of that training.")] = 3,
    seed: Annotated[int, typer.Option(min=0, help="Of the fit and the passport.")] = 0,
    as_json: Annotated[bool, json_option(f"Print one JSON object, {LAST_LINE}.")] = False,
) -> None:
    """Fit a twin to measured rows: its passport, floors, and whether training would pay, without the device."""
    from hwloop.errors import ConfigError
    from hwloop.experiments.own_data.pairs import read_pairs
    from hwloop.journal.durable_files import atomic_write
    from hwloop.passport import characterise
    from hwloop.passport.measured import measured_rows
    from hwloop.passport.report import write_passport
    from hwloop.registry import DATASETS, open_device
    from hwloop.twin.fitting import default_candidates
    from hwloop.twin.fitting import fit as fitted
    from hwloop.twin.modulus import Intensity
    from hwloop.twin.saved import save_twin

    if task != NO_TASK:
        DATASETS.load(task)  # an unknown one shows before anything is fitted
    pairs = read_pairs(file, inputs, outputs)
    folder = file.with_name(f"{file.stem}-fit") if out is None else out
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not empty; give another with --out, or move it away")
    errors = new_console(stderr=True)
    for note in pairs.notes:
        errors.print(note, highlight=False, soft_wrap=True, markup=False)
    errors.print(f"fitting {len(pairs.inputs):,} rows", highlight=False)
    twin = fitted(pairs.inputs, pairs.outputs, seed, (*default_candidates(), Intensity()))
    folder.mkdir(parents=True, exist_ok=True)
    save_twin(twin, folder / TWIN)
    atomic_write(folder / DEVICE, f'# Fitted by hwloop fit.\ndevice = "twin"\n\n[settings]\nfile = "{TWIN}"\n')
    device = open_device(str(folder / DEVICE))
    rows = measured_rows(pairs.inputs, pairs.outputs, twin)
    passport = characterise(device, seed=seed)
    write_passport(passport, folder / PAGE)
    kept.note = f"twin and passport are kept in {folder}"
    evidence = None if task == NO_TASK else _trained(folder, task, seeds)
    found = _as_dict(pairs, twin, rows, passport, evidence)
    atomic_write(folder / FIGURES, json.dumps(found, indent=1) + "\n")
    kept.note = ""
    _show(errors if as_json else new_console(), twin, rows, passport, evidence, folder)
    if as_json:
        print(json.dumps({**found, "folder": str(folder)}))


def _trained(folder: Path, task: str, seeds: int) -> Evidence:
    """One stage of the twin with a trained map, on a task, beside its floors: an experiment like any other."""
    from hwloop.cli.running import run
    from hwloop.registry import read_toml
    from hwloop.toml_text import toml_text

    table: dict[str, Any] = {
        "name": f"{task}-twin",
        "description": f"{task} through a twin of measured rows, local heads, one row a sample",
        "seeds": seeds,
        "dataset": {"name": task},
        "device": {"name": "twin", "settings": {"file": str((folder / TWIN).absolute())}},
        "network": {"stages": 1},
        "trainer": {"name": "local"},
    }
    written = folder / "experiment.toml"
    written.write_text(toml_text(table), encoding="utf-8")
    read_toml(written)
    return run(str(written), out=folder / RUN, show=False)


def _as_dict(
    pairs: Pairs, twin: Twin, rows: MeasuredRows, passport: Passport, evidence: Evidence | None
) -> dict[str, Any]:
    report = twin.report
    return {
        "rows": len(pairs.inputs),
        "inputs": list(pairs.input_names),
        "outputs": list(pairs.output_names),
        "notes": list(pairs.notes),
        "sha256": pairs.sha256,
        "twin": {
            "model": report.winner,
            "held_out_rows": report.held_out_rows,
            "candidates": {
                each.name: {"nrmse": _finite(each.nrmse), "r2": _finite(each.r2_variance_weighted)}
                for each in report.candidates
            },
        },
        "measured": rows.as_dict(),
        "passport": passport.as_dict(),
        "pays": None if evidence is None else verdict(evidence),
        "evidence": None if evidence is None else evidence.as_json(),
    }


def _finite(value: float) -> float | None:
    import math

    return value if math.isfinite(value) else None


def verdict(evidence: Evidence) -> dict[str, Any]:
    """Whether the physics adds to the best that does without it, from the paired difference and its interval."""
    found = evidence.physics_adds
    if found is None or evidence.best_null is None:
        return {"answer": "unknown", "said": "no floor could be scored, so nothing can be said"}
    unit = evidence.metric.difference or evidence.metric.title
    scale = evidence.metric.scale
    name = next((line.name for line in evidence.lines() if line.key == evidence.best_null), evidence.best_null)
    if found.low is None or found.high is None:
        return {
            "answer": "not shown",
            "adds": found.mean,
            "best_null": evidence.best_null,
            "said": "not shown that training would pay: one seed shows no difference; give more (--seeds). "
            f"There the rig adds {scale * found.mean:+.3g} {unit} over {name}",
        }
    # What the seeds change, and what other test rows would: the wider counts.
    spans = [(found.low, found.high), *([] if found.rows is None else [found.rows])]
    low, high = min(span[0] for span in spans), max(span[1] for span in spans)
    answer = "yes" if low > 0 else "no" if high <= 0 else "not shown"
    difference = f"{scale * found.mean:+.3g} {unit} ({scale * low:+.3g} to {scale * high:+.3g})"
    words = {
        "yes": "training would pay: the rig adds",
        "no": "training would not pay: digital features do as well, the rig adds",
        "not shown": "not shown that training would pay: the rig adds",
    }
    return {
        "answer": answer,
        "adds": found.mean,
        "low": low,
        "high": high,
        "best_null": evidence.best_null,
        "said": f"{words[answer]} {difference} over {name}",
    }


def _show(
    console: Console, twin: Twin, rows: MeasuredRows, passport: Passport, evidence: Evidence | None, folder: Path
) -> None:
    from hwloop.cli.characterise_command import show_passport
    from hwloop.experiment.verdict import comparisons

    report, score = twin.report, twin.report.score
    console.print(
        Text(f"twin: {report.winner}, NRMSE {score.nrmse:.4f} on {report.held_out_rows:,} held-out rows")
    )
    console.print(
        Text(
            f"responses: {100 * rows.linear:.1f} % linear in the stimuli, {100 * rows.nonlinear:.1f} % nonlinear, "
            f"{100 * rows.unexplained:.1f} % unexplained"
        )
    )
    if rows.repeats:
        console.print(Text(f"noise of {rows.repeats:,} repeated rows: {100 * rows.noise:.2f} % of the spread"))
    console.print(Text("passport of the twin", style="bold"))
    show_passport(passport, console)
    for note in rows.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    if evidence is not None:
        console.print(Text(f"on {evidence.config.dataset.title}: {verdict(evidence)['said']}", style="bold"))
        for comparison in comparisons(
            evidence
        ).values():  # a floor may do without any of it what training would pay
            console.print(Text(comparison.words))
    names = [TWIN, DEVICE, PAGE, FIGURES, *([] if evidence is None else [f"{RUN}/report.html"])]
    console.print(Text(f"in {folder}: {', '.join(names)}"))
