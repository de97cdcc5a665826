"""What an array of some library marks as invalid is no reading, and no stimulus either."""

import numpy as np
import pytest

import hwloop
from hwloop.devices.adapters import ChannelDevice, Gettable, Settable
from hwloop.devices.averaged import Averaged

MASKED = np.ma.array([[1.0, 2.0], [3.0, 4.0]], mask=[[False, True], [False, False]])


def quantity(values, unit):
    return pytest.importorskip("pint").UnitRegistry().Quantity(values, unit)


def masked_tensor():
    torch = pytest.importorskip("torch")
    masked = pytest.importorskip("torch.masked")
    with pytest.warns(UserWarning, match="prototype"):
        return masked.masked_tensor(torch.ones(2, 2), torch.tensor([[True, True], [True, False]]))


class Marked(np.ndarray):
    """An array of a library that is not known here, with a mask of its own."""

    mask = np.array([[True, False], [False, False]])


INVALID = {
    "masked array": lambda: MASKED,
    "rows that are masked arrays": lambda: [MASKED[0], MASKED[1]],
    "the masked constant": lambda: [[np.ma.masked, 1.0], [1.0, 1.0]],
    "a structured masked array": lambda: np.ma.zeros((2, 2), dtype=[("v", float), ("s", int)]),
    "a subclass with a mask": lambda: np.ones((2, 2)).view(Marked),
    "masked in a quantity": lambda: quantity(MASKED, "V"),
    "a quantity in another unit": lambda: quantity(np.ones((2, 2)), "mV"),
    "a quantity without a unit": lambda: quantity(np.ones((2, 2)), ""),
    "a table with NA": lambda: pytest.importorskip("pandas").DataFrame([[1, None], [1, 2]], dtype="Int64"),
    "floats with NA": lambda: pytest.importorskip("pandas").DataFrame([[1.5, None], [1, 2]], dtype="Float64"),
    "a table with NaN": lambda: pytest.importorskip("pandas").DataFrame([[1.5, None], [1, 2]]),
    "the fill value": lambda: pytest.importorskip("xarray").DataArray(
        [[1.0, -999.0], [1.0, 2.0]], attrs={"_FillValue": -999.0}
    ),
    "a missing value": lambda: pytest.importorskip("xarray").DataArray(
        [[1.0, -9.0], [1.0, 2.0]], attrs={"missing_value": np.array([-9.0])}
    ),
    "a lazy masked array": lambda: pytest.importorskip("dask.array").from_array(MASKED),
    "a masked tensor": masked_tensor,
    "a tensor with NaN": lambda: pytest.importorskip("torch").tensor([[1.0, float("nan")], [1.0, 1.0]]),
    "None among objects": lambda: np.array([[1.0, None], [1.0, 2.0]], dtype=object),
    "numbers with an error": lambda: [
        [pytest.importorskip("uncertainties").ufloat(1, float("nan")), 1.0],
        [1.0, 1.0],
    ],
    "complex": lambda: np.ones((2, 2)) * 1j,
    "times": lambda: np.full((2, 2), "NaT", dtype="M8[s]"),
    "NaT as whole numbers": lambda: np.full((2, 2), "NaT", dtype="M8[s]").view(np.int64),
    "all bits set": lambda: np.full((2, 2), 2**64 - 1, dtype=np.uint64),
    "an overflow of a float": lambda: np.full((2, 2), 1e300, dtype=np.float64).astype(np.longdouble) ** 4,
    "SCPI's overflow": lambda: np.full((2, 2), -9.9e37, dtype=np.float32),
}


class Replies(hwloop.Device):
    spec = hwloop.DeviceSpec(
        n_inputs=2, n_outputs=2, input_low=-10, input_high=10, input_unit="V", output_unit="V"
    )

    def __init__(self, reply):
        self.reply = reply

    def _measure(self, inputs):
        return self.reply


@pytest.mark.parametrize("what", INVALID)
def test_a_reply_that_marks_a_value_as_invalid_is_a_bad_reading(what):
    device = Replies(INVALID[what]())
    with pytest.raises(hwloop.BadReading):
        device.measure(np.zeros((2, 2)))
    session = hwloop.Session(Averaged(device, 2))
    with session, pytest.raises(hwloop.BadReading):
        session.measure(np.zeros((2, 2)))
    assert session.journal.rows == 0


@pytest.mark.parametrize("what", INVALID)
def test_and_as_a_stimulus_it_is_refused_before_anything_is_sent(what):
    device = Replies(np.ones((2, 2)))
    with pytest.raises((hwloop.StimulusError, hwloop.LimitError)):
        device.measure(INVALID[what]())
    with pytest.raises((hwloop.StimulusError, hwloop.LimitError)):
        hwloop.Session(device).measure(INVALID[what]())


@pytest.mark.parametrize(
    "reply",
    [
        lambda: np.ma.array(np.ones((2, 2)), mask=False),
        lambda: np.ma.array(np.ones((2, 2))),
        lambda: [[1, True], (1.0, np.float32(1))],
        lambda: [np.ones(2), np.ones(2, dtype=np.int8)],
        lambda: quantity(np.ones((2, 2)), "V"),
        lambda: pytest.importorskip("pandas").DataFrame(np.ones((2, 2))),
        lambda: pytest.importorskip("xarray").DataArray(np.ones((2, 2)), attrs={"_FillValue": -999.0}),
        lambda: pytest.importorskip("torch").ones(2, 2),
        lambda: np.ones((2, 2)).view(np.matrix),
    ],
)
def test_whole_replies_of_the_same_libraries_are_read(reply):
    np.testing.assert_array_equal(Replies(reply()).measure(np.zeros((2, 2))), np.ones((2, 2)))


def test_the_message_says_which_value_and_what_holds_it():
    with pytest.raises(
        hwloop.BadReading, match=r"1 of 4 values \(the first at \[0, 1\]\) of the MaskedArray are masked"
    ):
        Replies(MASKED).measure(np.zeros((2, 2)))
    with pytest.raises(hwloop.BadReading, match="Quantity is in millivolt, not in V"):
        Replies(quantity(np.ones((2, 2)), "mV")).measure(np.zeros((2, 2)))


def test_a_channel_whose_reading_is_masked_says_which():
    probe = Gettable("probe", lambda: np.ma.masked, "V")
    device = ChannelDevice([Settable("knob", lambda value: None, 0.0, 1.0, "V")], [probe])
    with device, pytest.raises(hwloop.BadReading, match=r"probe reads .*masked"):
        device.measure([[0.5]])


def test_a_masked_reply_does_not_lose_its_mask_on_the_way_from_a_worker():
    from hwloop.devices.worker import served

    with pytest.raises(served.MarkedInvalid):
        served._unmasked(MASKED)
    with pytest.raises(served.MarkedInvalid):
        served._unmasked([MASKED[0], MASKED[1]])
    np.testing.assert_array_equal(served._unmasked([[1.0, 2.0]]), [[1.0, 2.0]])
