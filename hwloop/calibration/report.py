"""The calibration's report: one HTML file that holds its plots and opens from disk, without a network."""

from __future__ import annotations

import base64
import datetime
import io
from importlib.resources import files
from pathlib import Path

import jinja2
import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg

from hwloop._version import __version__
from hwloop.calibration.calibrate import Calibration
from hwloop.calibration.figure_table import figure_lines
from hwloop.calibration.plots import PLOTS, STYLE


def write_report(calibration: Calibration, device_file: str, path: Path, plots: Path | None = None) -> Path:
    """Write the report.

    Parameters
    ----------
    calibration
        What was found.
    device_file
        Text of the calibrated device's TOML.
    path
        Of the HTML file.
    plots
        Folder for the plots as PNG files too; ``None`` for none.

    Returns
    -------
    ``path``.
    """
    images = draw_plots(calibration)
    if plots is not None:
        plots.mkdir(parents=True, exist_ok=True)
        for name, image in images.items():
            (plots / f"{name}.png").write_bytes(image)
    path.write_text(_render(calibration, device_file, images), encoding="utf-8")
    return path


def draw_plots(calibration: Calibration) -> dict[str, bytes]:
    """Every plot that there is data for, as PNG."""
    images = {}
    with matplotlib.rc_context(STYLE):
        for name, draw in PLOTS.items():
            figure = draw(calibration)
            if figure is not None:
                FigureCanvasAgg(figure)
                buffer = io.BytesIO()
                figure.savefig(buffer, format="png")
                images[name] = buffer.getvalue()
    return images


def _render(calibration: Calibration, device_file: str, images: dict[str, bytes]) -> str:
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = files("hwloop.calibration").joinpath("templates/report.html.j2").read_text(encoding="utf-8")
    recommended = calibration.recommended
    settings = {
        "range": "narrowed" if recommended.input_low else "the device's own",
        "averages": recommended.averages,
        "settling_rows": recommended.settling_rows,
        "rows_per_call": recommended.rows_per_call,
        "correction": "none" if recommended.correction is None else recommended.correction["kind"],
    }
    return environment.from_string(source).render(
        calibration=calibration,
        lines=figure_lines(calibration.figures),
        images={
            name: "data:image/png;base64," + base64.b64encode(image).decode("ascii")
            for name, image in images.items()
        },
        settings=[(name.replace("_", " "), value, recommended.reasons[name]) for name, value in settings.items()],
        device_file=device_file,
        version=__version__,
        written=datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
    )
