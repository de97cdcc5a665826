"""The calibration's report: one HTML file that holds its plots and opens from disk, without a network."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib

from hwloop.calibration.calibrate import Calibration
from hwloop.calibration.figure_table import figure_lines
from hwloop.calibration.plots import PLOTS, STYLE
from hwloop.html_report import data_uri, rendered, save_png


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
                buffer = io.BytesIO()
                save_png(figure, buffer)
                images[name] = buffer.getvalue()
    return images


def _render(calibration: Calibration, device_file: str, images: dict[str, bytes]) -> str:
    return rendered(
        "hwloop.calibration",
        "report.html.j2",
        calibration=calibration,
        lines=figure_lines(calibration.figures),
        images={name: data_uri(image) for name, image in images.items()},
        settings=calibration.recommended.rows(whole_range="the device's own"),
        device_file=device_file,
    )
