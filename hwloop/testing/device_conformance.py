"""The conformance check as a pytest class that a driver's own repository subclasses."""

from __future__ import annotations

from typing import ClassVar

import pytest

from hwloop.conformance import DEFAULT_ROWS, Finding, Report, Status, check_device
from hwloop.device import Device
from hwloop.errors import HwloopError


class DeviceConformance:
    """One test a promise of :func:`hwloop.conformance.check_device`; the device is checked once for all of them.

    A subclass, named ``Test…``, gives the device::

        class TestMyRig(hwloop.testing.DeviceConformance):
            def make_device(self):
                return MyRig(port="/dev/ttyUSB0")

    A promise that cannot be judged, or a finding that is no fault, is recorded as the property ``note`` of its
    test (``--junit-xml`` shows it) and does not fail it.

    Attributes
    ----------
    rows
        Budget of the check.
    seed
        Draws its stimuli and their order.
    timeout_seconds
        After which a call of the device counts as hung.
    """

    rows: ClassVar[int] = DEFAULT_ROWS
    seed: ClassVar[int] = 0
    timeout_seconds: ClassVar[float] = 60.0

    def make_device(self) -> Device:
        """The device, closed; called twice, for two objects of a driver must not get in each other's way."""
        raise NotImplementedError(f"{type(self).__name__} must give the device that it tests: write make_device()")

    def is_safe(self, device: Device) -> bool | None:
        """Whether the closed hardware is in its safe state, seen from outside; ``None`` if nothing can tell."""
        return None

    @pytest.fixture
    def conformance(self) -> Report:
        """The report on the device, the same for all tests of the class."""
        kept = vars(type(self)).get("_outcome")
        if kept is None:
            kept = self._checked()
            type(self)._outcome = kept
        if isinstance(kept, HwloopError):  # a device that cannot be opened is not tried again for each test
            raise kept
        return kept

    _outcome: ClassVar[Report | HwloopError | None] = None

    def _checked(self) -> Report | HwloopError:
        sees = type(self).is_safe is not DeviceConformance.is_safe
        try:
            return check_device(
                self.make_device,
                rows=self.rows,
                seed=self.seed,
                timeout_seconds=self.timeout_seconds,
                is_safe=self.is_safe if sees else None,
            )
        except HwloopError as error:
            return error

    def test_limits(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """Nothing beyond the limits reaches the driver, in any wrapper."""
        judge(conformance["limits"], request)

    def test_identity(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """The device says who it is, always the same."""
        judge(conformance["identity"], request)

    def test_repeatability(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """The same stimulus gives the same response, within the noise."""
        judge(conformance["repeatability"], request)

    def test_staleness(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """No answer is the one before it again."""
        judge(conformance["staleness"], request)

    def test_saturation(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """Outputs have room for what is measured."""
        judge(conformance["saturation"], request)

    def test_sign(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """A stimulus and its mirror image are told apart, or it is noted that they are not."""
        judge(conformance["sign"], request)

    def test_batches(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """A row is answered alike alone and among others."""
        judge(conformance["batches"], request)

    def test_memory(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """A row leaves no trace in the next."""
        judge(conformance["memory"], request)

    def test_full_calls(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """A call may carry as many rows as the spec says."""
        judge(conformance["full-calls"], request)

    def test_reopening(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """The device is the same after close and open."""
        judge(conformance["reopening"], request)

    def test_two_at_once(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """Two sessions at once do not corrupt each other."""
        judge(conformance["two-at-once"], request)

    def test_recovery(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """Right answers after an interrupted call, close and open."""
        judge(conformance["recovery"], request)

    def test_closing(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """close() always works, and reaches every device inside."""
        judge(conformance["closing"], request)

    def test_late_replies(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """An answer that comes after its time-out is nobody's answer."""
        judge(conformance["late-replies"], request)

    def test_readings(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """Every call is answered with real readings."""
        judge(conformance["readings"], request)

    def test_determinism(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """spec.deterministic is true."""
        judge(conformance["determinism"], request)

    def test_arrays(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """Stimuli are not altered, replies are not reused."""
        judge(conformance["arrays"], request)

    def test_pace(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """spec.row_seconds is true."""
        judge(conformance["pace"], request)

    def test_latency(self, conformance: Report, request: pytest.FixtureRequest) -> None:
        """Rows in one call do not slow each other down."""
        judge(conformance["latency"], request)


def judge(finding: Finding, request: pytest.FixtureRequest) -> None:
    """Fail the test with the evidence if the promise is broken; leave a note where there is one."""
    evidence = ", ".join(f"{name}={value}" for name, value in finding.evidence.items())
    p_value = "" if finding.p_value is None else f"\n{finding.test}: p = {finding.p_value:.2g}"
    if finding.status is Status.FAIL:
        pytest.fail(f"{finding.summary}\n{evidence}{p_value}\nto do: {finding.next_step}", pytrace=False)
    if finding.status is Status.NOTE:
        request.node.user_properties.append(("note", finding.summary))
