"""One look for all reports: an HTML page that opens from disk without a network, and its plots.

Plots need no display and leave the global state of matplotlib alone. Matplotlib and Jinja are imported when a page
is written: what a notebook shows of a device needs neither.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from hwloop._version import __version__

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAGE = "page.html.j2"  # what every report's template extends
INK, QUIET, GRID = "#1d2733", "#6b7785", "#e3e7ec"
ACCENT, SECOND, THIRD = "#0b6e99", "#d1763a", "#7a5c9e"
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": QUIET,
    "ytick.color": QUIET,
    "text.color": INK,
    "legend.frameon": False,
    "savefig.dpi": 180,
}


def rendered(
    package: str, template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **content: Any
) -> str:
    """A page from a template of a package's folder ``templates``; it may extend :data:`PAGE`.

    A name that the template asks for and is not given is an error. Every template knows ``version`` and
    ``written``, the date.
    """
    import jinja2

    def source(name: str) -> str:
        folder = files("hwloop.html_report") if name == PAGE else files(package).joinpath("templates")
        return folder.joinpath(name).read_text(encoding="utf-8")

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters or {}
    written = datetime.datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
    return environment.get_template(template).render(version=__version__, written=written, **content)


def save_png(figure: Figure, target: Path | BinaryIO) -> None:
    """Write a figure."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    figure.savefig(target, format="png")


def data_uri(image: bytes) -> str:
    """A PNG file's content as part of a page."""
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")
