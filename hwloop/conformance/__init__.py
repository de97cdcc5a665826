"""Can a driver be trusted? Its promises, checked one by one with evidence in numbers."""

from hwloop.conformance.check import DEFAULT_ROWS, PROMISES, check_device
from hwloop.conformance.report import Finding, Report, Result, Status

__all__ = ["DEFAULT_ROWS", "PROMISES", "Finding", "Report", "Result", "Status", "check_device"]
