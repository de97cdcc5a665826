"""``hwloop list`` and ``hwloop info``: what there is, and what it can be told. ``list`` imports no torch."""

from __future__ import annotations

import difflib
import inspect
import json
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hwloop.cli.command import json_option, reporting
from hwloop.cli.console import new_console
from hwloop.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from hwloop.experiment.floor import Floor
    from hwloop.registry import Registry
    from hwloop.training import Trainer

# Heading, and the registry in hwloop.registry, by what they are called on the command line.
REGISTERED = {
    "devices": ("Devices", "DEVICES"),
    "elsewhere": ("Devices elsewhere", "SCHEMES"),
    "wrappers": ("Wrappers of devices", "WRAPPERS"),
    "trainers": ("Trainers", "TRAINERS"),
    "policies": ("Adaptation policies", "ADAPTERS"),
    "datasets": ("Datasets", "DATASETS"),
}
TITLES = {
    "experiments": "Experiments",
    **{kind: title for kind, (title, _) in REGISTERED.items()},
    "tasks": "Tasks",
    "floors": "Floors and digital methods of the evidence",
}
WHEN_ASKED = ("floors",)  # they take longer to import than all else to list
SHOWN_VALUE = 40
ROLE = re.compile(r":\w+:`~?([^`]*)`")


@reporting
def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help=f"Only these: {', '.join(TITLES)}.", show_default="all but floors"),
    ] = None,
    as_json: Annotated[bool, json_option("Print one JSON object: by kind, names with a line each.")] = False,
) -> None:
    """Experiments, devices, wrappers, trainers, datasets and the rest, each with a line."""
    from hwloop.registry import nearest

    if kind is not None and kind not in TITLES:
        raise ConfigError(f"unknown kind {kind!r}: {nearest(kind, TITLES)}")
    found = catalogue([kind] if kind else [each for each in TITLES if each not in WHEN_ASKED])
    if as_json:
        print(json.dumps(found))
        return
    console = new_console(file_columns=80, highlight=False)
    for each, lines in found.items():
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
        table.add_column(no_wrap=True)
        table.add_column()
        for name, line in lines.items():
            table.add_row(Text(f"{name}:…" if each == "elsewhere" else name, style="bold"), Text(line))
        console.print(Text(TITLES[each], style="bold underline"))
        console.print(table)
        console.print()


def registry_of(kind: str) -> Registry:
    """The registry of one of :data:`REGISTERED`."""
    from hwloop import registry

    found: Registry = getattr(registry, REGISTERED[kind][1])
    return found


def catalogue(kinds: list[str]) -> dict[str, dict[str, str]]:
    """By kind and name, a line each."""
    from hwloop.registry import described

    registered = [kind for kind in kinds if kind in REGISTERED]
    lines = dict(zip(registered, described(*map(registry_of, registered)), strict=True))
    others: dict[str, Callable[[], dict[str, str]]] = {
        "experiments": _experiments,
        "tasks": _tasks,
        "floors": _floors,
    }
    return {kind: lines[kind] if kind in lines else others[kind]() for kind in kinds}


def _experiments() -> dict[str, str]:
    from hwloop.experiments.datasets import shipped_experiments
    from hwloop.registry import read_toml

    return {name: str(read_toml(path).get("description", "")) for name, path in shipped_experiments().items()}


def _tasks() -> dict[str, str]:
    from hwloop.tasks import TASKS

    return {name: _first_line(task) for name, task in TASKS.items()}


def _floors() -> dict[str, str]:
    from hwloop.experiment.floors import FLOORS

    return {floor.key: _in_table(floor) for floor in FLOORS}


def _in_table(floor: Floor) -> str:
    from hwloop.tasks import TASKS

    return floor.method_of(next(iter(TASKS.values())))


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").partition("\n")[0]


@dataclass(frozen=True)
class Setting:
    """A setting as it is shown: its values in words, its default, what it means."""

    name: str
    takes: str
    default: Any
    required: bool
    meaning: str


@dataclass(frozen=True)
class Info:
    """What there is to know of one name.

    Attributes
    ----------
    object
        Where it is made, ``package.module:Name``, or its file.
    package
        The distribution that offers it, with its version.
    text
        Its docstring, without the settings.
    more
        What its kind has beside: what a trainer learns from, a task's scores, an experiment's entries.
    """

    name: str
    kind: str
    object: str
    package: str
    text: str
    settings: tuple[Setting, ...]
    more: Mapping[str, str]


@reporting
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of 'hwloop list', or package.module:Class.")],
    as_json: Annotated[bool, json_option("Print one JSON list, an object for each thing of that name.")] = False,
) -> None:
    """What a device, wrapper, trainer, dataset, experiment, floor or task is, and its settings."""
    found = list(_infos(name))
    if not found:
        raise ConfigError(f"nothing is called {name!r}{_close_name(name)}; hwloop list shows every name")
    if as_json:
        print(json.dumps([asdict(each) for each in found], default=str))
        return
    console = new_console(file_columns=100, highlight=False, markup=False)
    for each in found:
        _show(each, console)


def _close_name(name: str) -> str:
    known = [each for lines in catalogue(list(TITLES)).values() for each in lines]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def _infos(name: str) -> Iterator[Info]:
    from hwloop.experiments.datasets import shipped_experiments

    for kind in REGISTERED:
        registry = registry_of(kind)
        entry = registry.entries().get(name)
        if entry is not None or (":" in name and kind == "devices"):
            yield _of_entry(name, registry, entry)
    if name in shipped_experiments() or name.endswith(".toml"):
        yield _of_experiment(name)
    if ":" not in name:
        yield from _of_class(name)


def _of_entry(name: str, registry: Registry, entry: EntryPoint | None) -> Info:
    factory = registry.load(name)
    factory = getattr(factory, "func", factory)  # a way to reach devices, with the rest of the name
    declaration = getattr(factory, "declaration", None)
    more = {} if declaration is None else {"learns": declaration.learns, "tasks": _tasks_of(factory())}
    package = "" if entry is None or entry.dist is None else f"{entry.dist.name} {entry.dist.version}"
    value = name if entry is None else entry.value
    return Info(name, registry.kind, value, package, _text(factory), tuple(_settings(factory)), more)


def _tasks_of(trainer: Trainer) -> str:
    """What a trainer can learn; where it needs classes, why."""
    from hwloop.tasks import TASKS

    reasons = {kind: trainer.reason_against(task) for kind, task in TASKS.items()}
    served = [kind for kind, reason in reasons.items() if not reason]
    why = next(filter(None, reasons.values()), "")
    return f"{served[0]} alone: {why}" if len(served) == 1 else ", ".join(served)


def _of_experiment(name: str) -> Info:
    from hwloop.experiment.config import load_experiment
    from hwloop.experiments.datasets import experiment_file
    from hwloop.toml_text import toml_text

    path = experiment_file(name)
    config = load_experiment(path)
    entries = toml_text(config.as_table())
    return Info(config.name, "experiment", str(path), "", config.description, (), {"entries": entries})


def _of_class(name: str) -> Iterator[Info]:
    from hwloop.experiment.floors import FLOORS
    from hwloop.tasks import TASKS

    for floor in FLOORS:
        if floor.key == name:
            kind = "digital method of the evidence" if floor.digital else "floor of the evidence"
            yield Info(
                name,
                kind,
                _place(type(floor)),
                "",
                _text(floor),
                (),
                {"in the table": _in_table(floor)},
            )
    if name in TASKS:
        task = TASKS[name]
        scores = ", ".join(metric.axis for metric in task.metrics)
        yield Info(name, "task", _place(task), "", _text(task), tuple(_settings(task)), {"scores": scores})


def _place(cls: type) -> str:
    return f"{cls.__module__}:{cls.__qualname__}"


def _text(thing: Any) -> str:
    from hwloop.docstrings import summary_of

    return _plain_words(summary_of(inspect.getdoc(thing) or ""))


def _plain_words(text: str) -> str:
    """Without the marks of reStructuredText."""
    return ROLE.sub(r"\1", text).replace("``", "")


def _settings(factory: Any) -> Iterator[Setting]:
    """From its signature, what it declares, and its docstring."""
    declarations = getattr(factory, "declarations", None)
    declared = {} if declarations is None else declarations.settings
    takes: dict[str, str] = getattr(factory, "takes", {})
    meanings, types = _meanings(factory), _types(factory)
    for name, parameter in inspect.signature(factory).parameters.items():
        if name == "device" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue  # the device inside a wrapper is no setting
        values = takes.get(name) or (declared[name].takes if name in declared else "")
        default = parameter.default
        required = default is parameter.empty
        kind = types.get(name) or ("" if required or default is None else type(default).__name__)
        if values and "None" in kind:
            values += ", or none"
        meaning = meanings.get(name, "").removesuffix(f" It must be {values}.").removesuffix(f" It must {values}.")
        yield Setting(
            name,
            values or kind.replace(" | ", " or "),
            None if required else default,
            required,
            _plain_words(meaning),
        )


def _meanings(factory: Any) -> dict[str, str]:
    from hwloop.docstrings import SECTIONS, parameter_meanings

    parts = [*_groups(factory), *reversed(inspect.getmro(factory))] if inspect.isclass(factory) else [factory]
    found: dict[str, str] = {}
    for part in parts:
        found |= parameter_meanings(part.__doc__ or "", [*SECTIONS, "Options of its parts"])
    return found


def _types(factory: Any) -> dict[str, str]:
    """Types as they are annotated, by name."""
    parts: list[Any]
    if inspect.isclass(factory):
        parts = [*_groups(factory), *reversed(inspect.getmro(factory)), factory.__init__]
    else:
        parts = [inspect.unwrap(factory)]
    found: dict[str, str] = {}
    for part in parts:
        for name, hint in inspect.get_annotations(part).items():
            found[name] = hint if isinstance(hint, str) else getattr(hint, "__name__", str(hint))
    return found


def _groups(factory: Any) -> list[type]:
    """The groups of settings that a device's class declares, base classes first."""
    from hwloop.device.declared import Declarations, SettingsGroup

    declarations = getattr(factory, "declarations", None)
    entries = declarations.entries.values() if isinstance(declarations, Declarations) else ()
    groups = [type(entry) for entry in entries if isinstance(entry, SettingsGroup)]
    return list(dict.fromkeys(base for group in groups for base in reversed(group.__mro__)))


def _show(found: Info, console: Console) -> None:
    console.print(Text.assemble((found.name, "bold"), f"  {found.kind}"), soft_wrap=True)
    origin = f"{found.object} ({found.package})" if found.package else found.object
    console.print(Text(origin, style="dim"), soft_wrap=True)
    if found.text:
        console.print()
        for paragraph in _paragraphs(found.text):
            console.print(_filled(paragraph, console))
    for title, text in found.more.items():
        if "\n" in text:
            console.print(Text(f"\n{title.capitalize()}", style="bold"))
            console.print(textwrap.indent(text.strip(), "  "), soft_wrap=True)
        else:
            console.print(f"\n{_filled(f'{title.capitalize()}: {text}', console)}")
    if found.settings:
        console.print(Text("\nSettings", style="bold"))
    for setting in found.settings:
        value = "must be given" if setting.required else f"default {_shown(setting.default)}"
        console.print(Text.assemble("  ", (setting.name, "bold"), f"  {setting.takes}; {value}"))
        if setting.meaning:
            console.print(_filled(setting.meaning, console, "      "))
    console.print()


def _paragraphs(text: str) -> Iterator[str]:
    """Paragraphs on a line each; an item of a list, and what is indented, has its own."""
    begun: list[str] = []
    for line in [*text.splitlines(), ""]:
        own = line.startswith((" ", "- "))
        if begun and (own or not line):
            yield " ".join(begun)
            begun = []
        if line.startswith("- "):
            begun = [line]
        elif line.startswith("  ") and not begun:
            yield line
        elif line:
            begun.append(line.strip())
        elif not begun:
            yield ""


def _filled(text: str, console: Console, indent: str = "") -> str:
    later = indent + ("  " if text.startswith("- ") else "")
    return textwrap.fill(text, console.width, initial_indent=indent, subsequent_indent=later)


def _shown(value: Any) -> str:
    """A default as a TOML file would have it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    text = json.dumps(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN_VALUE else f"{text[:SHOWN_VALUE]}…"
