"""Devices that live in another process, and in another Python where their libraries want one."""

from hwloop.devices.worker.device import WorkerDevice
from hwloop.devices.worker.process import WorkerProcess
from hwloop.devices.worker.target import Target, python_of
from hwloop.devices.worker.worker import Worker, WorkerEngine

__all__ = ["Target", "Worker", "WorkerDevice", "WorkerEngine", "WorkerProcess", "python_of"]
