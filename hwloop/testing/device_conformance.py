"""The conformance check as a pytest class that a driver's own repository subclasses."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from hwloop.conformance import DEFAULT_ROWS, PROMISES, Finding, Report, Status, check_device
from hwloop.device import Device
from hwloop.errors import HwloopError


class DeviceConformance:
    """One test a promise, ``test_limits`` and so on, of a device that is checked once for all of them.

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


def judge(finding: Finding, request: pytest.FixtureRequest) -> None:
    """Fail the test with the evidence if the promise is broken; leave a note where there is one."""
    evidence = ", ".join(f"{name}={value}" for name, value in finding.evidence.items())
    p_value = "" if finding.p_value is None else f"\n{finding.test}: p = {finding.p_value:.2g}"
    if finding.status is Status.FAIL:
        pytest.fail(f"{finding.summary}\n{evidence}{p_value}\nto do: {finding.next_step}", pytrace=False)
    if finding.status is Status.NOTE:
        request.node.user_properties.append(("note", finding.summary))


def _test_of(promise: str, question: str) -> Callable[..., None]:
    def test(self: DeviceConformance, conformance: Report, request: pytest.FixtureRequest) -> None:
        if promise not in {result.promise for result in conformance.results}:
            pytest.skip("a device of this kind does not make the promise")
        judge(conformance[promise], request)

    test.__name__ = f"test_{promise.replace('-', '_')}"
    test.__qualname__ = f"{DeviceConformance.__name__}.{test.__name__}"
    test.__doc__ = f"{question}."
    return test


for _promise in PROMISES.values():
    _test = _test_of(_promise.name, _promise.question)
    setattr(DeviceConformance, _test.__name__, _test)
