"""The seam: what `measure` lets through to a driver, what it refuses, and what it takes for a reading."""

import re

import numpy as np
import pytest
import torch

from hwloop import (
    BadReading,
    Device,
    DeviceDisconnected,
    DeviceError,
    DeviceSpec,
    DeviceTimeout,
    LimitError,
    StimulusError,
)


class Recorder(Device):
    """Notes every batch that reaches the hardware and answers with what it was told to."""

    def __init__(self, reply=None, **spec):
        self.spec = DeviceSpec(**{"n_inputs": 3, "n_outputs": 2, "input_unit": "V", **spec})
        self.batches = []
        self.reply = reply

    def _measure(self, inputs):
        self.batches.append(inputs.copy())
        if self.reply is not None:
            return self.reply(inputs)
        return inputs[:, : self.spec.n_outputs]


@pytest.fixture
def rig():
    return Recorder()


class TestAccepts:
    def test_stimuli_arrive_as_float64_and_responses_come_back_as_float64(self, rig):
        given = np.array([[0.0, 0.5, 1.0]], dtype=np.float32)
        responses = rig.measure(given)
        assert rig.batches[0].dtype == responses.dtype == np.float64
        np.testing.assert_array_equal(rig.batches[0], given)
        np.testing.assert_array_equal(responses, [[0.0, 0.5]])

    @pytest.mark.parametrize(
        "stimuli",
        [
            [[0, 1, 0]],
            ((0.0, 1.0, 0.0),),
            np.array([[0, 1, 0]], dtype=np.uint8),
            np.array([[False, True, False]]),
            np.asfortranarray([[0.0, 1.0, 0.0]]),
            torch.tensor([[0.0, 1.0, 0.0]]),
        ],
        ids=["list", "tuple", "uint8", "bool", "fortran", "tensor"],
    )
    def test_real_numbers_of_any_container(self, rig, stimuli):
        np.testing.assert_array_equal(rig.measure(stimuli), [[0.0, 1.0]])

    def test_no_rows_give_no_rows_and_disturb_nothing(self, rig):
        assert rig.measure(np.empty((0, 3))).shape == (0, 2)
        assert rig.batches == []

    def test_rows_are_split_by_what_one_call_may_carry(self):
        rig = Recorder(max_rows=4)
        stimuli = np.linspace(0, 1, 30).reshape(10, 3)
        np.testing.assert_array_equal(rig.measure(stimuli), stimuli[:, :2])
        assert [len(batch) for batch in rig.batches] == [4, 4, 2]

    def test_the_limits_themselves_are_allowed(self):
        rig = Recorder(input_low=np.array([-1.0, 0.0, 2.0]), input_high=np.array([1.0, 0.1, 3.0]))
        rig.measure([[-1.0, 0.0, 2.0], [1.0, 0.1, 3.0]])
        assert len(rig.batches) == 1

    def test_the_driver_cannot_alter_the_callers_array_nor_its_answer_later(self):
        memory = np.zeros((1, 2))

        def scribble(inputs):
            inputs[:] = 9.0
            return memory

        stimuli = np.zeros((1, 3))
        responses = Recorder(scribble).measure(stimuli)
        memory[:] = 5.0
        assert (stimuli == 0).all()
        assert (responses == 0).all()


class TestRefusesBeforeAnythingIsSent:
    @pytest.mark.parametrize(
        "stimuli",
        [
            np.zeros(3),
            np.zeros((2, 4)),
            np.zeros((1, 1, 3)),
            0.5,
            [],
            [[0.0, 0.1], [0.2]],
            np.zeros((1, 3), dtype=complex),
            [["a", "b", "c"]],
            [[None, 0.0, 0.0]],
            np.array([["2020-01-01"] * 3], dtype="datetime64[D]"),
            torch.zeros((1, 3), requires_grad=True),
            {"row": 1},
            None,
        ],
        ids=[
            "1-d",
            "wide",
            "3-d",
            "scalar",
            "empty",
            "ragged",
            "complex",
            "text",
            "none in it",
            "dates",
            "needs gradient",
            "dict",
            "none",
        ],
    )
    def test_wrong_shape_or_type(self, rig, stimuli):
        with pytest.raises(StimulusError):
            rig.measure(stimuli)
        assert rig.batches == []

    def test_wrong_shape_names_both_shapes(self, rig):
        with pytest.raises(StimulusError, match=r"\(rows, 3\).*\(2, 4\)"):
            rig.measure(np.zeros((2, 4)))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_not_finite(self, rig, value):
        stimuli = np.zeros((4, 3))
        stimuli[2, 1] = value
        with pytest.raises(StimulusError, match="row 2, channel 1"):
            rig.measure(stimuli)
        assert rig.batches == []

    def test_out_of_limit_names_row_channel_value_and_limit(self, rig):
        stimuli = np.zeros((4, 3))
        stimuli[3, 2] = 1.25
        with pytest.raises(LimitError, match=r"Recorder: row 3, channel 2: 1\.25 V .*limit of 1\.0 V"):
            rig.measure(stimuli)
        assert rig.batches == []

    def test_one_ulp_outside_is_outside(self, rig):
        for value in (np.nextafter(1.0, 2.0), np.nextafter(0.0, -1.0)):
            with pytest.raises(LimitError):
                rig.measure([[0.0, value, 0.0]])

    def test_limits_of_each_channel(self):
        rig = Recorder(input_low=np.array([0.0, -2.0, 0.0]), input_high=np.array([1.0, 2.0, 0.5]))
        rig.measure([[0.0, -1.5, 0.0]])
        with pytest.raises(LimitError, match=re.escape("channel 2: 0.75 V lies above the upper limit of 0.5 V")):
            rig.measure([[0.0, 0.0, 0.75]])

    def test_a_bad_row_late_in_a_split_batch_sends_nothing(self):
        rig = Recorder(max_rows=2)
        stimuli = np.zeros((9, 3))
        stimuli[8, 0] = 2.0
        with pytest.raises(LimitError, match="row 8"):
            rig.measure(stimuli)
        assert rig.batches == []

    def test_both_kinds_are_value_errors(self, rig):
        with pytest.raises(ValueError, match="upper limit"):
            rig.measure(np.full((1, 3), 2.0))
        with pytest.raises(ValueError, match="finite"):
            rig.measure(np.full((1, 3), np.nan))

    def test_an_array_that_changes_while_it_is_read_cannot_pass_what_was_not_checked(self):
        shared = np.zeros((4, 3))

        def meanwhile(inputs):
            shared[:] = 99.0  # the caller's thread alters its array while the first part is measured
            return inputs[:, :2]

        rig = Recorder(meanwhile, max_rows=1)
        rig.measure(shared)
        assert max(batch.max() for batch in rig.batches) == 0.0


class TestReadings:
    @pytest.mark.parametrize(
        "reply",
        [
            lambda x: np.zeros((len(x), 3)),
            lambda x: np.zeros((len(x) + 1, 2)),
            lambda x: np.zeros(2),
            lambda x: [[0.0, 0.0], [0.0]],
            lambda x: None,
            lambda x: "0.1,0.2",
            lambda x: np.zeros((len(x), 2), dtype=complex),
        ],
        ids=["outputs", "rows", "1-d", "ragged", "nothing", "text", "complex"],
    )
    def test_wrong_shape_or_type(self, reply):
        with pytest.raises(BadReading):
            Recorder(reply).measure(np.zeros((2, 3)))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 9.91e37, 9.9e37, -9.9e37])
    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    def test_no_reading(self, value, dtype):
        def reply(inputs):
            responses = np.zeros((len(inputs), 2), dtype=dtype)
            responses[1, 0] = value
            return responses

        with pytest.raises(BadReading, match="row 1, output 0"):
            Recorder(reply).measure(np.zeros((3, 3)))

    def test_large_readings_are_readings(self):
        assert Recorder(lambda x: np.full((len(x), 2), 1e30)).measure(np.zeros((1, 3))).max() == 1e30


class TestDriverFailures:
    @pytest.mark.parametrize(
        ("raised", "kind"),
        [
            (TimeoutError("no answer"), DeviceTimeout),
            (ConnectionResetError("reset"), DeviceDisconnected),
            (BrokenPipeError(), DeviceDisconnected),
            (EOFError(), DeviceDisconnected),
            (OSError("usb"), DeviceError),
            (ZeroDivisionError("oops"), DeviceError),
        ],
    )
    def test_a_librarys_exception_becomes_a_device_error(self, raised, kind):
        def fail(inputs):
            raise raised

        with pytest.raises(DeviceError, match=type(raised).__name__) as caught:
            Recorder(fail).measure(np.zeros((2, 3)))
        assert type(caught.value) is kind
        assert caught.value.__cause__ is raised

    def test_hwloops_own_errors_pass_unchanged(self):
        error = DeviceTimeout("after 2 s")

        def fail(inputs):
            raise error

        with pytest.raises(DeviceTimeout) as caught:
            Recorder(fail).measure(np.zeros((1, 3)))
        assert caught.value is error

    def test_an_interrupt_is_not_swallowed(self):
        def interrupt(inputs):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            Recorder(interrupt).measure(np.zeros((1, 3)))


class TestMeasureIsFinal:
    def test_overriding_is_refused(self):
        with pytest.raises(TypeError, match="Sneaky overrides measure"):

            class Sneaky(Recorder):
                def measure(self, inputs):
                    return self._measure(inputs)

    def test_overriding_through_a_mixin_is_refused(self):
        class Mixin:
            def measure(self, inputs):
                return inputs

        with pytest.raises(TypeError, match="overrides measure"):

            class Sneaky(Mixin, Recorder):
                pass

    def test_a_driver_without_measure_method_cannot_be_made(self):
        class Unfinished(Device):
            spec = DeviceSpec(1, 1)

        with pytest.raises(TypeError, match="_measure"):
            Unfinished()


def test_a_device_is_a_context_manager_that_closes_after_an_error():
    class Opened(Recorder):
        state = "new"

        def open(self):
            self.state = "open"

        def close(self):
            self.state = "safe"

    rig = Opened()

    def refused_while_open():
        with rig:
            assert rig.state == "open"
            rig.measure(np.full((1, 3), 7.0))

    with pytest.raises(LimitError):
        refused_while_open()
    assert rig.state == "safe"


class Bare(Device):
    """A driver without a constructor: it has no settings."""

    spec = DeviceSpec(n_inputs=1, n_outputs=1)

    def _measure(self, inputs):
        return inputs


@pytest.mark.parametrize(
    ("given", "named"), [({"port": "COM3"}, "'port'"), ({"foo": 1, "bar": 2}, "'foo', 'bar'")]
)
def test_a_driver_without_settings_refuses_them_by_name(given, named):
    with pytest.raises(TypeError, match=f"Bare has no settings, so {named} can mean nothing"):
        Bare(**given)
    with pytest.raises(TypeError, match="Bare has no settings, so 3 can"):
        Bare(3)


class Plugged(Device):
    """A driver that has its connection from open() on."""

    spec = DeviceSpec(1, 1)

    def open(self):
        self.link = [0.0]

    def _measure(self, inputs):
        return inputs + self.link[0]


def test_a_driver_that_was_not_opened_says_so_in_the_first_place():
    device = Plugged()
    with pytest.raises(DeviceError, match=r"Plugged is not open, .*AttributeError.*; open it first: 'with dev"):
        device.measure([[0.0]])
    with device:
        assert device.measure([[0.5]]).tolist() == [[0.5]]
