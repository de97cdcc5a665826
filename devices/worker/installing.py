"""Builds an environment: a virtual environment, pip with its output in a log, a check, and the manifest last."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from hwloop.devices.worker.environments import Environment, Manifest, State
from hwloop.devices.worker.recipes import RECIPES, Recipe
from hwloop.errors import ConfigError

# Of pip's settings, those that would send packages elsewhere than into the environment.
ELSEWHERE = ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PYTHONPATH", "PYTHONHOME", "PYTHONUSERBASE")
UNREACHABLE = (
    "NewConnectionError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "NameResolutionError",
    "Temporary failure in name resolution",
    "Network is unreachable",
    "ProxyError",
)
TERM_SECONDS = 2.0

Tell = Callable[[str], None]


def recipe_for(name: str, requirements: Path | None) -> Recipe:
    """The known recipe of a name, or one from a requirements file.

    Raises
    ------
    ConfigError
        Neither is there, both are, or the file cannot be read.
    """
    known = RECIPES.get(name)
    if requirements is None:
        if known is None:
            raise ConfigError(
                f"no recipe is known for {name!r} (known: {', '.join(sorted(RECIPES))}); "
                "give the packages that it needs with --requirements FILE"
            )
        return known
    if known is not None:
        raise ConfigError(f"{name!r} has its own requirements; choose another name for those in {requirements}")
    try:
        requirements.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{requirements}: cannot be read as a requirements file ({error})") from error
    return Recipe(requirements.absolute())


def install(
    name: str,
    recipe: Recipe,
    python: Path | None = None,
    tell: Tell = lambda line: None,
) -> tuple[Environment, bool]:
    """Build an environment, unless it is there, whole, and made from the same requirements.

    A half-built or broken one, or one from other requirements or another Python that is asked for, is built anew;
    if that fails, what was there stays.

    Parameters
    ----------
    name
        Of the environment.
    recipe
        What goes into it.
    python
        Interpreter to build it with; ``None`` to find one.
    tell
        Told what is going on, a line at a time.

    Returns
    -------
    The environment, and whether it had to be built.

    Raises
    ------
    ConfigError
        No suitable Python, pip failed (the message names its log), the check failed, or another process is
        building it.
    """
    environment = Environment(name)
    text = recipe.requirements.read_text(encoding="utf-8")
    chosen = None if python is None else checked_python(python, recipe.pythons)
    with _alone(environment):
        if _is_there(environment, text, recipe, chosen):
            return environment, False
        with _in_place_of_former(environment):
            _build(environment, recipe, chosen or find_python(recipe.pythons), text, tell)
    return environment, True


def _build(environment: Environment, recipe: Recipe, python: Path, text: str, tell: Tell) -> None:
    environment.log.unlink(missing_ok=True)
    tell(f"virtual environment with {python}")
    _logged(
        [str(python), "-m", "venv", str(environment.folder)], environment, "no virtual environment could be made"
    )
    tell(f"installing {_summary(text)}; pip writes to {environment.log}")
    pip = [str(environment.python), "-m", "pip", "--no-input", "--disable-pip-version-check"]
    options = ["--retries", "3", "--progress-bar", "off"]
    if recipe.complete:  # lava-nc says that it is for 3.10 alone; the set is tested on the recipe's Pythons
        options += ["--no-deps", "--ignore-requires-python", "--only-binary", ":all:"]
    _logged([*pip, "install", *options, "-r", str(recipe.requirements)], environment, "pip failed")
    if recipe.complete:  # else pip has seen to it
        _logged([*pip, "check"], environment, "the packages do not fit together")
    for mend in recipe.mends:
        _place(mend, environment)
    tell("checking it")
    try:
        found = environment.probe(recipe.imports)
    except ConfigError as error:
        raise ConfigError(
            f"{environment.name}: everything is installed, but {error}; "
            f"a worker needs {', '.join(recipe.imports)}. Check the requirements; "
            f"pip's output is in {environment.log}"
        ) from error
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    manifest = Manifest(str(python), found["python"], now, text, found["installed"], list(recipe.imports))
    manifest.write(environment.folder)


@contextlib.contextmanager
def _in_place_of_former(environment: Environment) -> Iterator[None]:
    """Move what was there aside; it comes back if the new one is not built to its end, by Ctrl-C say."""
    former = _place_of_former(environment)
    if former.exists():
        shutil.rmtree(former)
    if environment.exists():
        environment.folder.rename(former)  # the same file system; and it works only at its own place
    try:
        yield
    except BaseException:
        shutil.rmtree(environment.folder, ignore_errors=True)
        if former.exists() and not environment.exists():
            former.rename(environment.folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


def _place_of_former(environment: Environment) -> Path:
    return environment.folder.with_name(f".{environment.name}.former")


def _is_there(environment: Environment, text: str, recipe: Recipe, python: Path | None) -> bool:
    manifest = environment.manifest()
    if manifest is None or manifest.requirements != text or tuple(manifest.imports) != tuple(recipe.imports):
        return False
    if python is not None and manifest.python != str(python):
        return False
    return environment.state()[0] is State.WHOLE


def _place(mend: Path, environment: Environment) -> None:
    """Copy a mending module into ``site-packages``, with the ``.pth`` line that calls it when Python starts."""
    (packages,) = environment.folder.glob("lib/python*/site-packages")
    shutil.copyfile(mend, packages / mend.name)
    line = f"import {mend.stem}; {mend.stem}.mend()\n"
    (packages / f"{mend.stem}.pth").write_text(line, encoding="utf-8")


@contextlib.contextmanager
def _alone(environment: Environment) -> Iterator[None]:
    """Keep a second process from building the same environment; the kernel lets go when this one dies."""
    environment.folder.parent.mkdir(parents=True, exist_ok=True)
    path = environment.folder.with_name(f".{environment.name}.lock")
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f"another process is building or removing {environment.name!r}; wait for it, then try again"
            ) from error
        yield
    finally:
        os.close(file)


def remove(name: str) -> None:
    """Delete an environment, unless another process is building it.

    Raises
    ------
    ConfigError
    """
    environment = Environment(name)
    with _alone(environment):
        shutil.rmtree(_place_of_former(environment), ignore_errors=True)  # of a build that was killed
        environment.remove()


def _logged(command: Sequence[str], environment: Environment, failure: str) -> None:
    """Run a command with its output at the end of the log; it is ended when this process is told to end."""
    settings = {key: value for key, value in os.environ.items() if key not in ELSEWHERE}
    settings |= {"PIP_USER": "0", "PIP_REQUIRE_VIRTUALENV": "0"}
    with environment.log.open("ab") as log:
        log.write(f"$ {' '.join(command)}\n".encode())
        log.flush()
        began = log.tell()
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=settings, start_new_session=True
            )
        except OSError as error:
            raise ConfigError(f"{environment.name}: {failure}: {command[0]} does not start ({error})") from error
        try:
            status = process.wait()
        except BaseException:
            _end(process)
            raise
    if status:
        said = environment.log.read_bytes()[began:].decode("utf-8", "replace")
        raise ConfigError(f"{environment.name}: {failure}: {_reason(said)} (log: {environment.log})")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and everything that it started."""
    for number, seconds in ((signal.SIGTERM, TERM_SECONDS), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)


def _reason(said: str) -> str:
    """The one line that tells most of why a command failed."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    if any(sign in said for sign in UNREACHABLE):
        first = f" ({errors[0]})" if errors else ""
        return f"no package index can be reached{first}; check the network, or pip's settings for a mirror"
    return errors[0] if errors else (lines[-1] if lines else "it said nothing")


def _summary(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "-"))]
    return "1 package" if len(lines) == 1 else f"{len(lines)} packages"


START_SECONDS = 30.0
OLDEST = (3, 8)  # that the worker's file runs on

Version = tuple[int, int]


def find_python(versions: Sequence[Version]) -> Path:
    """The interpreter of the first of these versions that this computer has; the present one if none is asked for.

    Looked for on the ``PATH``, then among those of pyenv and uv.

    Raises
    ------
    ConfigError
        There is none.
    """
    if not versions:
        return Path(sys.executable)
    for version in versions:
        for candidate in _candidates(version):
            if candidate.is_file() and version_of(candidate) == version:
                return candidate
    wanted = ", ".join(f"{major}.{minor}" for major, minor in versions)
    raise ConfigError(
        f"no Python {wanted} is found on the PATH or among those of pyenv and uv; "
        "install one, or name it with --python"
    )


def checked_python(python: Path, versions: Sequence[Version]) -> Path:
    """The absolute path of an interpreter that the user names, if it starts and its version will do.

    Raises
    ------
    ConfigError
    """
    python = Path(shutil.which(python) or python).absolute()
    version = version_of(python)
    if version is None:
        raise ConfigError(f"{python} does not start as a Python; give --python the path of an interpreter")
    if versions and version not in versions:
        wanted = ", ".join(f"{major}.{minor}" for major, minor in versions)
        raise ConfigError(f"{python} is Python {version[0]}.{version[1]}, but this needs one of {wanted}")
    if version < OLDEST:
        raise ConfigError(f"{python} is Python {version[0]}.{version[1]}; a worker needs 3.8 or later")
    return python


def version_of(python: Path) -> Version | None:
    """Major and minor version of an interpreter; ``None`` if it does not start."""
    code = "import sys; print(*sys.version_info[:2])"
    try:
        answer = subprocess.run(
            [python, "-I", "-c", code],
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        major, minor = answer.stdout.split()
        return int(major), int(minor)
    except (OSError, ValueError, subprocess.SubprocessError):  # a shim of pyenv, say, for what is not installed
        return None


def _candidates(version: Version) -> Iterator[Path]:
    name = f"python{version[0]}.{version[1]}"
    if sys.version_info[:2] == version:
        yield Path(sys.executable)
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        if folder:
            yield Path(folder) / name
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from sorted(pyenv.glob(f"versions/{version[0]}.{version[1]}.*/bin/{name}"), reverse=True)
    uv = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "uv" / "python"
    yield from sorted(uv.glob(f"cpython-{version[0]}.{version[1]}*/bin/{name}"), reverse=True)
