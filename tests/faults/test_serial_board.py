"""A board behind a pseudo-terminal: what a bad cable, a reset or a pulled plug does to measured rows."""

import itertools
import time

import numpy as np
import pytest

from hwloop import (
    BadReading,
    DeviceDisconnected,
    DeviceError,
    DeviceTimeout,
    HwloopError,
    LimitError,
    Retrying,
    open_device,
)
from hwloop.conformance import check_device
from hwloop.device.checks import checked_stimuli
from hwloop.simulators.emulated_board import EmulatedBoard

pytest.importorskip("serial", reason="pyserial is not installed: pip install 'hwloop[serial]'")

MIX = np.array([[0.5, 0.2, 0.1], [0.1, 0.1, 0.7]])
STEP = 3.3 / 65_535  # one code in volts
SETTINGS = {"reply_seconds": 0.2, "boot_seconds": 1.0}


def mixed(volts):
    return MIX @ volts


def rows(count, seed=0):
    return np.random.default_rng(seed).uniform(0, 3.3, (count, 3))


@pytest.fixture
def board():
    with EmulatedBoard(mixed, 3, 2, watchdog_seconds=0.3) as board:
        yield board


@pytest.fixture
def device(board):
    with open_device("serial-board", port=board.port, **SETTINGS) as device:
        yield device


def assert_measured(responses, stimuli):
    np.testing.assert_allclose(responses, stimuli @ MIX.T, atol=1.5 * STEP)


def test_rows_come_back_in_order_over_several_lines(device):
    stimuli = rows(50)
    assert_measured(device.measure(stimuli), stimuli)


def test_the_spec_is_the_boards(device):
    spec = device.spec
    assert (spec.n_inputs, spec.n_outputs, spec.input_low.tolist(), spec.input_high.tolist()) == (
        3,
        2,
        [0.0] * 3,
        [3.3] * 3,
    )
    assert (spec.input_unit, spec.output_unit, spec.max_rows) == ("V", "V", 16)
    assert spec.row_seconds == pytest.approx(20 * 10 / 115_200 + 2 * 20e-6)
    assert device.identify() == "emulated-board 0001, settling 0 s, averages 1"


def test_the_spec_can_be_asked_before_opening(board):
    device = open_device("serial-board", port=board.port, **SETTINGS)
    assert device.spec.n_inputs == 3
    assert not board.driven
    device.close()


def test_limits_of_the_board_hold_before_anything_is_sent(board, device):
    with pytest.raises(LimitError, match="channel 1"):
        device.measure([[0.0, 3.3000001, 0.0]])
    assert not board.driven


def test_no_random_sequence_drives_the_board_beyond_its_limits(board, device):
    rng = np.random.default_rng(1)
    for _ in range(150):
        stimuli = rng.choice([-1e30, -1e-9, 0.0, 1.0, 3.3, 3.3000001, np.nan, np.inf], (rng.integers(0, 3), 3))
        try:
            checked_stimuli(stimuli, device.spec, "board")
        except HwloopError as error:
            with pytest.raises(type(error)):
                device.measure(stimuli)
        else:
            device.measure(stimuli)
    assert board.driven
    assert all(np.all((row >= 0) & (row <= 3.3)) for row in board.driven)


def test_closing_mutes(board, device):
    device.measure(np.full((1, 3), 2.0))
    assert board.outputs.max() > 1.9
    device.close()
    assert board.outputs.tolist() == [0.0] * 3
    with pytest.raises(DeviceDisconnected, match="closed"):
        device.measure(rows(1))
    device.open()
    assert_measured(device.measure(rows(3)), rows(3))


def test_an_exception_mutes(board):
    def interrupted():
        with open_device("serial-board", port=board.port, **SETTINGS) as device:
            device.measure(np.full((1, 3), 2.0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert board.outputs.tolist() == [0.0] * 3


def test_the_watchdog_mutes_when_the_host_falls_silent_and_the_next_row_still_works(board, device):
    device.measure(np.full((1, 3), 2.0))
    time.sleep(0.5)
    assert board.outputs.tolist() == [0.0] * 3
    assert_measured(device.measure(rows(2)), rows(2))


def test_closing_waits_for_the_watchdog_when_the_board_does_not_answer(board, device):
    device.measure(np.full((1, 3), 2.0))
    board.wire = lambda line: []
    device.close()
    assert board.outputs.tolist() == [0.0] * 3


def test_a_reset_in_the_middle_is_noticed(board, device):
    device.measure(rows(1))
    board.reset()
    with pytest.raises(DeviceDisconnected, match="was reset"):
        device.measure(rows(1))
    assert len(board.driven) == 1


def test_a_pulled_plug_is_noticed_at_once(board, device):
    device.measure(rows(1))
    board.unplug()
    began = time.monotonic()
    with pytest.raises(DeviceDisconnected, match="plugged in"):
        device.measure(rows(1))
    assert time.monotonic() - began < 0.5


def test_nothing_on_the_port():
    with pytest.raises(DeviceDisconnected, match="cannot open"):
        open_device("serial-board", port="/dev/no-such-port").open()


def test_a_silent_port_is_bounded_by_the_boot_time():
    with EmulatedBoard(mixed, 3, 2, wire=lambda line: []) as board:
        began = time.monotonic()
        with pytest.raises(DeviceTimeout, match=r"within 0\.4 s"):
            open_device("serial-board", port=board.port, boot_seconds=0.4).open()
        assert time.monotonic() - began < 1.5


def test_a_board_that_boots_slowly_is_waited_for():
    began = time.monotonic()

    def booting(line):
        return [line] if time.monotonic() - began > 0.7 else [b"boot v1.2\r\n"]

    with (
        EmulatedBoard(mixed, 3, 2, wire=booting) as board,
        open_device("serial-board", port=board.port, boot_seconds=3.0) as device,
    ):
        assert_measured(device.measure(rows(2)), rows(2))


def test_a_lost_line_is_a_timeout(board, device):
    board.wire = lambda line: []
    with pytest.raises(DeviceTimeout, match="did not answer ROWS"):
        device.measure(rows(1))


def test_a_garbled_line_is_no_reading(board, device):
    board.wire = lambda line: [line.replace(b"R", b"Q")]
    with pytest.raises(BadReading, match="checksum"):
        device.measure(rows(1))


CHATTER = {
    "a debug print": [b"adc=512\r\n"],
    "zero bytes": [b"\0", b"\0\0"],
    "a print without its line's end": [b"t=1234 "],
    "digits right before the frame": [b"t=1234"],
    "something like a frame": [b"12 ROWS 1 ffff*\n", b"- \n", b"*29B1\n"],
    "not even text": [bytes(range(128, 256)) + b"\n"],
    "empty lines": [b"\n", b"\r\n"],
}


@pytest.mark.parametrize("chatter", CHATTER.values(), ids=CHATTER)
def test_what_the_firmware_prints_between_frames_is_passed_over_and_counted(chatter, board, device):
    told = []
    device.listener = told.append
    board.wire = lambda line: [*chatter, line]
    for seed in range(5):
        assert_measured(device.measure(rows(20, seed)), rows(20, seed))
    lines = sum(piece.endswith(b"\n") and len(piece) > 2 for piece in chatter)
    assert [event.lines for event in told] == [lines * n for n in (1, 2, 4, 8) if lines]
    device.listener = None


@pytest.mark.slow
def test_random_bytes_between_frames_never_make_a_reading(board, device):
    rng = np.random.default_rng(0)
    board.wire = lambda line: [rng.bytes(int(rng.integers(1, 40))), line]
    right = 0
    for seed in range(300):
        try:
            assert_measured(device.measure(rows(2, seed)), rows(2, seed))
            right += 1
        except (BadReading, DeviceTimeout):
            device.close()
            board.wire, bad = (lambda line: [line]), board.wire
            device.open()
            board.wire = bad
    assert right > 250


def test_a_reset_in_the_middle_of_a_row_is_called_a_reset(board, device):
    device.measure(rows(1))

    def reset(line):
        board.reset()
        board.wire = lambda line: [line]
        return [b"boot v1.2\r\n"]  # in place of the answer

    board.wire = reset
    with pytest.raises(DeviceDisconnected, match="was reset"):
        device.measure(rows(1))


def test_a_late_reply_is_nobody_elses_answer(board, device):
    held = []
    board.wire = lambda line: held.append(line) or []
    with pytest.raises(DeviceTimeout):
        device.measure(rows(1, seed=1))
    board.wire = lambda line: [*held, line]
    assert_measured(device.measure(rows(1, seed=2)), rows(1, seed=2))


def test_a_stale_reply_alone_is_a_timeout(board, device):
    sent = []
    board.wire = lambda line: sent.append(line) or [line]
    device.measure(rows(1, seed=1))
    board.wire = lambda line: sent
    with pytest.raises(DeviceTimeout):
        device.measure(rows(1, seed=2))


@pytest.mark.parametrize(("seed", "count"), [(0, 280), pytest.param(1, 1000, marks=pytest.mark.slow)])
def test_retrying_gets_every_row_right_over_a_bad_wire(seed, count):
    rng = np.random.default_rng(seed)
    previous = [b""]

    def bad_wire(line):
        held, previous[0] = previous[0], line
        fate = rng.integers(0, 60)
        if fate == 0:
            return []  # lost
        if fate == 1:
            return [line[: len(line) // 2] + b"?" + line[len(line) // 2 + 1 :]]  # garbled
        if fate == 2:
            return [held]  # stale
        if fate == 3:
            time.sleep(0.1)  # late
        return [line]

    # plausible=[]: the line's own checks are what is tested
    settings = {"reply_seconds": 0.05, "boot_seconds": 3.0}
    with EmulatedBoard(mixed, 3, 2, max_rows=4, watchdog_seconds=0.05) as board:
        device = open_device("serial-board", port=board.port, **settings)
        stimuli = rows(count, seed)
        with Retrying(device, retries=20, stop_after=20, backoff_seconds=0.0, plausible=[]) as retrying:
            board.wire = bad_wire
            parts = [retrying.measure(part) for part in np.split(stimuli, count // 4)]
            board.wire = lambda line: [line]
        assert_measured(np.concatenate(parts), stimuli)


def test_retrying_recovers_from_a_reset(board):
    device = Retrying(open_device("serial-board", port=board.port, **SETTINGS), backoff_seconds=0.0)
    with device:
        for count in itertools.count(1):
            board.reset()
            stimuli = rows(5, seed=count)
            assert_measured(device.measure(stimuli), stimuli)
            if count == 3:
                break


def test_a_board_that_changes_its_limits_is_refused(board, device):
    device.close()
    board.high = 5.0
    with pytest.raises(DeviceError, match="other limits"):
        device.open()


@pytest.mark.parametrize(
    "setting", [{"averages": 0}, {"settling_seconds": 2.0}, {"baud": "fast"}, {"reply_seconds": 0}]
)
def test_bad_settings_are_refused(setting):
    with pytest.raises(HwloopError, match=next(iter(setting))):
        open_device("serial-board", port="/dev/null", **setting)


@pytest.mark.slow
def test_the_board_keeps_every_promise_of_a_driver(board):
    report = check_device(lambda: open_device("serial-board", port=board.port, **SETTINGS))
    assert report.broken == []
