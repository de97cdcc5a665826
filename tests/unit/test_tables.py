"""Tables of all commands, on narrow terminals: columns go and are named, no figure is cut, no name is lost."""

import io
import re
from types import SimpleNamespace

import pytest
from examples import examples
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from hwloop.cli.arena_command import standings_table
from hwloop.cli.calibrate_command import _CalibrationProgress, figures_table
from hwloop.cli.check_command import promises_table
from hwloop.cli.command import ProgressKept
from hwloop.cli.console import FittedTable, Heading
from hwloop.cli.drift_command import courses_table
from hwloop.cli.run_display import evidence_table
from hwloop.cli.runs_command import measured_table, runs_table
from hwloop.experiment.columns import COLUMNS, Column, Summary
from hwloop.experiments.drift.report import HEADINGS
from hwloop.runs.summary import RunSummary
from hwloop.tasks import Classification

LONG = "20261130-151234-mnist1d-multimode-fibre-nonlinear-channel-competition"
DEVICE = "simulated OpticalFibre(n_inputs=110, n_outputs=1000, matrix=iid, encoding=amplitude, read_noise=0.01)"


def runs():
    ours = RunSummary(
        LONG, "x", "interrupted", "e", "multimode-fibre-nonlinear", 1.7e9, 12345678, 0.9876, 3, False
    )
    scored = {"score_text": "98.8 %", "tags": ("overnight", "lab-2")}
    return runs_table([RunSummary(**{**vars(ours), **scored}), RunSummary("short", "y", "broken")])


def verification():
    kind = SimpleNamespace(
        identity=DEVICE, settings="s", purpose="calibrate", rows=1234567, calls=4321, first_seconds=1.7e9
    )
    kind.last_seconds, kind.device_seconds, kind.writes = 1.7e9, 123456.78, 0
    journal = SimpleNamespace(name="seed-123456-device-12", measured=[kind])
    return measured_table(SimpleNamespace(journals=[journal]))


def evidence():
    columns = [Column.of_metric(Classification.metrics[0]), *COLUMNS]
    figures = {"accuracy": Summary((0.98, 0.99)), "rows_per_train_sample": 51.25, "rows_per_prediction": 20.0}
    figures = {column.key: figures.get(column.key, 1234567) for column in columns}

    def line(key, method):
        shown = {column.key: column.show(figures[column.key]) for column in columns}
        return SimpleNamespace(
            key=key, method=method, regime="linear interface", shown=lambda column: shown[column.key]
        )

    lines = [
        line("network", "physical, 2 stages, channel-competition"),
        line("linear", "floor: null physics, linear map"),
    ]
    return evidence_table(SimpleNamespace(columns=columns, lines=lambda: lines))


def promises():
    finding = SimpleNamespace(status="fail", summary="the row 12 was answered 3 times " * 4, p_value=1.2e-7)
    return promises_table(SimpleNamespace(results=[SimpleNamespace(promise="rows_stand_alone", finding=finding)]))


def courses():
    line = (
        "restandardise (uses a model of the device)",
        "71.2 ± 10.4 % (step 26)",
        "93.4 %",
        "91.0 ± 1.0 %",
        "200",
        "65.0 %",
    )
    return courses_table(HEADINGS, [line])


def calibration(monkeypatch):
    line = SimpleNamespace(group="Noise", title="effective bits of the response", unit="of full scale")
    line.value, line.least, line.greatest = "10.25 ± 0.12", "9.75", "10.90"
    monkeypatch.setattr("hwloop.calibration.figure_table.figure_lines", lambda figures: [line])
    return figures_table(SimpleNamespace(figures=None))


def standings(monkeypatch):
    line = {
        "trainer": "product-feedback at 50",
        "figures": ["98.8 ± 0.4 %", "51.25", "2", "1,234,567"],
        "front": True,
    }
    monkeypatch.setattr("hwloop.experiments.arena.report.entry_line", lambda entry, standings: line)
    reference = {"method": "one physical stage, ridge readout", "score": "97.7 ± 1.1 %"}
    monkeypatch.setattr("hwloop.experiments.arena.report.reference_lines", lambda standings: [reference])
    columns = [Column.of_metric(Classification.metrics[0]), *COLUMNS]
    return standings_table(SimpleNamespace(columns=columns, ranking=[None]))


TABLES = {
    "runs": runs,
    "verify": verification,
    "run": evidence,
    "check": promises,
    "drift": courses,
    "calibrate": calibration,
    "arena": standings,
}


def printed(table, width):
    out = io.StringIO()
    table.print(Console(file=out, width=width, color_system=None))
    return out.getvalue()


def packed(text):
    """Without spaces and breaks: what wrapped stands together again."""
    return re.sub(r"\s", "", text)


@pytest.mark.parametrize("width", [60, 80, 140])
@pytest.mark.parametrize("name", TABLES)
def test_every_table_fits_and_cuts_nothing(name, width, monkeypatch):
    make = TABLES[name]
    table = (
        make(monkeypatch) if "monkeypatch" in make.__code__.co_varnames[: make.__code__.co_argcount] else make()
    )
    text = printed(table, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    kept = table.fitting(width)
    assert 0 in kept, "the name stays"
    for row in filter(None, table._rows):
        for number in kept:
            cell, heading = row[0][number].plain, table.headings[number]
            if heading.wraps:
                assert set(packed(cell)) <= set(packed(text))
            else:
                assert cell.strip() in text
    missing = [heading.called for number, heading in enumerate(table.headings) if number not in kept]
    assert all(packed(title) in packed(text) for title in missing)
    assert ("no room at" in text) == bool(missing)


def test_a_name_that_is_too_long_is_wrapped_whole():
    table = FittedTable([Heading("name", wraps=True), Heading("rows", right=True)])
    table.add_row(LONG, "12,345,678")
    lines = printed(table, 40).splitlines()
    assert "".join(line[:27].strip() for line in lines[2:]) == LONG
    assert sum("12,345,678" in line for line in lines) == 1


def test_the_least_important_column_goes_first():
    table = FittedTable([Heading("a"), Heading("b", drop=2), Heading("c", drop=1)], elsewhere="--json has them")
    table.add_row("x" * 10, "y" * 10, "z" * 10)
    assert [table.fitting(width) for width in (36, 30, 22, 5)] == [[0, 1, 2], [0, 2], [0], [0]]
    assert packed("no room at 30 columns for: b; --json has them") in packed(printed(table, 30))


def test_what_must_stay_is_whole_on_a_terminal_that_is_too_narrow():
    table = FittedTable([Heading("a"), Heading("b")])
    table.add_row("123456789012", "abcdefghijkl")
    assert "123456789012" in printed(table, 15)
    assert "abcdefghijkl" in printed(table, 15)


def test_a_row_of_another_length_is_a_mistake():
    with pytest.raises(ValueError, match="2 cells for 1"):
        FittedTable([Heading("a")]).add_row("x", "y")


WORDS = st.text("abc9 é漢", min_size=1, max_size=40).map(str.strip)
HEADING = st.builds(
    Heading, WORDS, drop=st.integers(0, 3), wraps=st.booleans(), right=st.booleans(), least=st.just(8)
)


@examples(60)
@given(st.lists(HEADING, min_size=1, max_size=6), st.data(), st.integers(20, 120))
def test_no_figure_is_ever_cut(headings, data, width):
    table = FittedTable(headings)
    for _ in range(2):
        table.add_row(*(data.draw(WORDS) for _ in headings))
    text = printed(table, width)
    for row in filter(None, table._rows):
        for number in table.fitting(width):
            if not headings[number].wraps:
                assert row[0][number].plain in text


def test_marks_in_a_cell_are_text():
    table = FittedTable([Heading("[bold]a")])
    table.add_row(Text("[red]x"))
    assert "[red]x" in printed(table, 40)
    assert "[bold]a" in printed(table, 40)


def test_the_bar_of_a_calibration_is_drawn_before_its_rows_are_known():
    out = io.StringIO()
    console = Console(file=out, width=60, force_terminal=True, color_system=None)
    with _CalibrationProgress(console, ProgressKept(), SimpleNamespace(set_aside=None)) as progress:
        progress._bar.refresh()
        progress.announce_sweep("guard_seconds", [0.1])
        progress._bar.refresh()
    assert "calibrating" in out.getvalue()
