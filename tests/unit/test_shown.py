"""What a person sees of an object, in a line and in a notebook: small, escaped, and nothing asked of hardware."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest
from small_fits import Mixer, blobs, small_network

import hwloop
from hwloop.conformance.report import Report, Result, failed, passed
from hwloop.errors import ConfigError
from hwloop.html_report.summary import MOST_LINES, framed, summary
from hwloop.simulators.optical_fibre import OpticalFibre


class Guarded(hwloop.Device):
    """A rig that must not be asked anything for the sake of a picture of it."""

    spec = hwloop.DeviceSpec(3, 2, 0.0, np.array([1.0, 2.0, 1.0]), input_unit="<V>", row_seconds=0.01, max_rows=8)

    def __init__(self, password: str = "") -> None:
        self.password = password

    def open(self):
        raise AssertionError("opened")

    def identify(self):
        raise AssertionError("asked")

    def _measure(self, inputs):
        raise AssertionError("measured")


class Balanced(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def well_formed(page: str) -> str:
    reader = Balanced()
    reader.feed(page)
    assert reader.open == []
    assert len(page) < 20_000
    assert "<script" not in page
    return page


@pytest.mark.parametrize("device", [Guarded("s3cret"), OpticalFibre(n_inputs=4, n_outputs=5), Mixer()], ids=repr)
def test_a_device_says_what_it_is_in_a_line(device):
    shown = well_formed(device._repr_html_())
    assert type(device).__name__ in repr(device)
    assert f"{device.spec.n_drives} inputs" in repr(device)
    assert "s3cret" not in repr(device) + shown
    assert "\n" not in repr(device)


def test_a_devices_line_word_for_word():
    assert repr(Guarded()) == "<Guarded: 3 inputs (0 to 2 <V>, each its own), 2 outputs>"
    assert repr(hwloop.Averaged(Guarded(), n=4)).startswith("<Averaged around Guarded: 3 inputs")
    assert "&lt;V&gt;" in Guarded()._repr_html_()
    assert "8 at most" in Guarded()._repr_html_()


def test_a_device_that_is_not_made_yet_has_a_line_all_the_same():
    class Half(hwloop.Device):
        def __init__(self):
            self.line = repr(self)

        def _measure(self, inputs):
            return inputs

    assert Half().line == "<Half>"


def test_a_session_says_rows_budget_and_whether_it_is_open():
    session = hwloop.Session(Mixer(), budget=10)
    rows = np.zeros((3, 28))
    rows[:, 0] = [0.0, 0.5, 1.0]
    with session:
        session.measure(rows)
        assert "device: open" in repr(session)
    session.measure(rows, "evaluate")
    for words in ("Session on <Mixer", "3 (3 train)", "rows recalled: 3", "10 rows, 7 left", "device: closed"):
        assert words in repr(session)
    well_formed(session._repr_html_())


def test_a_network_shows_its_stages_trained_or_not():
    network = small_network(Mixer())
    assert "not trained" in well_formed(network._repr_html_())
    hwloop.trainer("local", epochs=1, min_steps=1).fit(network, *blobs())
    shown = well_formed(network._repr_html_())
    assert "classification" in shown
    assert shown.count("<td>Mixer</td>") == 2


def test_a_check_shows_promises_and_what_to_do():
    results = (
        Result("limits", "?", passed("nothing <b>beyond</b> them")),
        Result("order", "?", failed("row 3 tells of row 2", "settle longer")),
    )
    shown = well_formed(Report("rig & co", {}, results, 12, 3.4, 0)._repr_html_())
    for words in ("rig &amp; co breaks order", "&lt;b&gt;beyond", "settle longer", "12"):
        assert words in shown


def test_history_plots_its_losses_as_an_image():
    trainer = hwloop.trainer("local", epochs=2, min_steps=2)
    history = trainer.fit(small_network(Mixer()), *blobs(), validation=blobs(12))
    figure = history.plot()
    assert [list(axes.lines[0].get_ydata()) for axes in figure.axes] == [stage.losses for stage in history.stages]
    assert "validation" in figure.axes[1].get_title(loc="left")
    assert figure._repr_png_().startswith(b"\x89PNG")
    closed_form = hwloop.trainer("readout").fit(small_network(Mixer()), *blobs())
    with pytest.raises(ConfigError, match="no losses"):
        closed_form.plot()


def test_long_and_hostile_text_stays_text():
    shown = summary("<script>", {"a": "&" * 500, "nothing": None}, ["x"], [["<img>"]] * (MOST_LINES + 5), "'\"")
    well_formed(shown)
    assert "&lt;script&gt;" in shown
    assert "nothing" not in shown
    assert shown.count("&lt;img&gt;") == MOST_LINES
    assert f"{MOST_LINES + 5} lines" in shown
    page = '<html><body onload="x">\'</body></html>'
    frame = re.search(r'srcdoc="([^"]*)" sandbox', framed(page))
    assert frame
    assert "<" not in frame[1]
