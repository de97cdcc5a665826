"""``hwloop list``: everything that can be named in an experiment."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from hwloop.cli.console import PipedConsole
from hwloop.experiments.datasets import shipped_experiments
from hwloop.registry import ADAPTERS, DATASETS, DEVICES, SCHEMES, TRAINERS, read_toml


def show_everything() -> None:
    """Print experiments, devices, trainers, adaptation policies and datasets, each with a line."""
    experiments = {
        name: str(read_toml(path).get("description", "")) for name, path in shipped_experiments().items()
    }
    console = PipedConsole(highlight=False)
    for title, described in (
        ("Experiments", experiments),
        ("Devices", DEVICES.describe()),
        ("Devices elsewhere", {f"{name}:…": line for name, line in SCHEMES.describe().items()}),
        ("Trainers", TRAINERS.describe()),
        ("Adaptation policies", ADAPTERS.describe()),
        ("Datasets", DATASETS.describe()),
    ):
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        for name, line in described.items():
            table.add_row(Text(name, style="bold"), Text(line))
        console.print(Text(title, style="bold underline"))
        console.print(table)
        console.print()
