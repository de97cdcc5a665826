"""What an experiment is made of: a dataset, a device, a trainer, each a name and the settings that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from hwloop.errors import DatasetError, HwloopError, is_out_of_memory
from hwloop.registry import DATASET_READERS, DATASETS

MAX_COPIES = 1_000


class Table(BaseModel):
    """A table of an experiment file: an unknown key is an error, and a boolean is no number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Part(Table):
    """A device or trainer: its name and the settings that it takes; a bare name will do."""

    name: Annotated[str, Field(min_length=1)]
    settings: dict[str, JsonValue] = {}

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, given: Any) -> Any:
        return {"name": given} if isinstance(given, str) else given


SERIES = ("sequence",)  # tasks that a file's rows in time are cut for


class DatasetPart(Table):
    """What is learned from: a dataset's name with the settings that it takes, or a file; a bare name will do.

    ``file`` is a table, arrays or a folder of images (docs/your-data.md), ``test_file`` another whose rows are the
    test rows. ``target`` names the column that is learned, or several; by default it is the last. ``task`` is
    ``classification`` or ``regression``; by default what the target looks like. ``drop`` are columns to leave out;
    rows of one value in the column ``group`` stay on one side of the split. ``name = "module:function"`` takes
    these four too, where the function returns a table. With the task ``sequence`` the rows are one series in
    time, and ``settings`` are ``horizon``, ``steps`` and ``washout``. A run fills in what was left open, and
    writes checksums of the files beside them, or one of what the function gave (``data_sha256``): they are refused
    if they are others since.
    """

    name: Annotated[str, Field(min_length=1)] | None = None
    settings: dict[str, JsonValue] | None = None
    file: Annotated[str, Field(min_length=1)] | None = None
    test_file: Annotated[str, Field(min_length=1)] | None = None
    target: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] | None = None
    task: str | None = None
    drop: list[str] | None = None
    group: str | None = None
    sha256: str | None = None
    test_sha256: str | None = None
    data_sha256: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, given: Any) -> Any:
        if isinstance(given, str):
            given = {"name": given}
        if isinstance(given, dict) and "name" in given and "settings" not in given:
            return given | {"settings": {}}  # as it has always been written
        return given

    @model_validator(mode="after")
    def _name_or_file(self) -> Self:
        if (self.name is None) == (self.file is None):
            raise ValueError("give a dataset a name (see hwloop list) or a file, one of them")
        if self.file is None and (self.test_file is not None or self.sha256 is not None):
            raise ValueError("test_file and sha256 belong to a dataset with a file")
        if self.data_sha256 is not None and ":" not in (self.name or ""):
            raise ValueError("data_sha256 belongs to a dataset that is a function (module:function)")
        if self.file is not None and self.settings and self.task not in SERIES:
            raise ValueError(f"a file takes settings where the task is {SERIES[0]} alone; see docs/your-data.md")
        if self.name is not None and ":" not in self.name and self._said():
            raise ValueError(
                f"the dataset {self.name!r} has a target of its own; {' and '.join(self._said())} can be said of "
                "files and functions (--data FILE)"
            )
        return self

    @property
    def title(self) -> str:
        """Its name, or its file's."""
        return self.name or Path(self.file or "").name

    def _said(self) -> dict[str, Any]:
        """What was said about a table."""
        return self.model_dump(exclude_none=True, include={"target", "task", "drop", "group"})

    def build(self) -> Any:
        """The dataset; what a function of the user's returned becomes one.

        Raises
        ------
        ConfigError
            Unknown name or setting.
        DatasetError
            The data cannot be read, or nothing can be learned from them.
        """
        if self.file is not None:
            return DATASET_READERS.build("file", **self.model_dump(exclude_none=True))
        try:
            found = DATASETS.build(self.title, **(self.settings or {}))
        except HwloopError:
            raise
        except Exception as error:
            if ":" not in self.title or is_out_of_memory(error):
                raise
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise DatasetError(f"the function {self.title} failed ({what}); --debug shows the line") from error
        if all(hasattr(found, part) for part in ("name", "inputs", "labels")):
            return found
        return DATASET_READERS.build("object", found, name=self.title, **self._said())

    def as_read(self, dataset: Any) -> Self:
        """With what was chosen when it was read, so that it is read alike another time.

        Raises
        ------
        DatasetError
            A function gave other data than those that ``data_sha256`` is of.
        """
        read = dict(getattr(dataset, "source", None) or {})
        if ":" in (self.name or ""):
            from hwloop.experiment.partition import digest_of

            found = read["data_sha256"] = digest_of(dataset)
            if self.data_sha256 not in (None, found):
                raise DatasetError(
                    f"the function {self.title} gives other data than when the run was begun: their SHA-256 was "
                    f"{self.data_sha256:.12}… and is {found[:12]}…. Let it give the same again (a seed, a date, a "
                    "file that it reads), or start a new run (with a copy of run.toml without data_sha256)"
                )
        return self.model_copy(update=read)


class DevicePart(Part):
    """A device; with ``copies`` so many equal ones that share its rows, see :class:`hwloop.devices.pool.Pool`."""

    copies: Annotated[int, Field(ge=1, le=MAX_COPIES)] | None = None
