"""Isaac Sim's wheels, where they are installed."""

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path

from .findings import GateError

VARIABLE = 'ISAACSIM_WHEELS'
VERSION = '6.2.0.0'
# What holds the truth for the application: the graph's nodes, the Python it calls, the experience.
NEEDED = ('isaacsim', 'isaacsim_core', 'isaacsim_kernel', 'isaacsim_sensor', 'isaacsim_storage',
          'isaacsim_ros2')


class Wheels:
    """The union of some site-packages folders that hold `isaacsim`."""

    def __init__(self, folders: Iterable[Path]) -> None:
        """Raises GateError if one of NEEDED is missing, or is of another version."""
        self.folders = [folder for folder in folders if (folder / 'isaacsim').is_dir()]
        found = {match[1]: match[2] for folder in self.folders
                 for entry in folder.glob('isaacsim*.dist-info')
                 if (match := re.fullmatch(r'(isaacsim\w*)-([\w.]+)\.dist-info', entry.name))}
        missing = [name for name in NEEDED if name not in found]
        if missing:
            raise GateError(f'Isaac Sim\'s wheels are not here: {", ".join(missing)} (pip install '
                            f'--no-deps each as =={VERSION}, and name their site-packages in '
                            f'{VARIABLE})')
        other = [f'{name} {found[name]}' for name in NEEDED if found[name] != VERSION]
        if other:
            raise GateError(f'the application is written for {VERSION}, not {", ".join(other)}')
        self._look([folder / 'isaacsim' for folder in self.folders],
                   {name: found[name] for name in NEEDED})

    @classmethod
    def installed(cls, folder: Path) -> 'Wheels':
        """What an Isaac Sim that was not installed by pip has. Raises GateError."""
        try:
            version = (folder / 'VERSION').read_text().strip()
        except OSError as problem:
            raise GateError(f'{folder} is no Isaac Sim: {problem.strerror}') from problem
        if not version.startswith(VERSION.removesuffix('.0')):
            raise GateError(f'the application is written for {VERSION}, not {version}')
        made = cls.__new__(cls)
        made.folders = [folder / 'python_packages']
        made._look([folder], {'Isaac Sim': version})
        return made

    def _look(self, places: list[Path], versions: dict[str, str]) -> None:
        self.distributions = versions
        self._places = places
        self.extensions: dict[str, Path] = {}
        for place in places:
            for entry in sorted([*place.glob('exts/*'), *place.glob('extscache/*')]):
                if entry.is_dir():
                    self.extensions.setdefault(entry.name.partition('-')[0], entry)
        # Each extension's folder is on Isaac Sim's path, and so is the kernel's own Python.
        self._roots = list(self.extensions.values())
        for place in places:
            kit = place / 'kit'
            self._roots += [kit / 'kernel' / 'py', *sorted((kit / 'extscore').glob('*'))]
        self._modules: dict[str, Path | None] = {}

    def files(self, pattern: str) -> list[Path]:
        """Of all extensions."""
        return [path for folder in self.extensions.values()
                for path in sorted(folder.glob(pattern))]

    def module(self, name: str) -> Path | None:
        """The source of a Python module, or its stub where it is compiled; a folder for a package
        that has neither; None for no module."""
        if name not in self._modules:
            self._modules[name] = self._find(Path(*name.split('.')))
        return self._modules[name]

    def _find(self, relative: Path) -> Path | None:
        package = None
        # Beside the wheels lies whatever else is installed there.
        beside = self.folders if relative.parts[0] == 'isaacsim' else []
        for root in (*beside, *self._roots):
            for path in (root / relative / '__init__.py', root / relative.with_suffix('.py'),
                         root / relative.with_suffix('.pyi')):
                if path.is_file():
                    return path
            if package is None and (root / relative).is_dir():
                package = root / relative
        return package

    def experience(self, name: str) -> Path | None:
        for place in self._places:
            path = place / 'apps' / name
            if path.is_file():
                return path
        return None


def find(folders: Iterable[str | Path] = ()) -> Wheels:
    """In the given folders, those that ISAACSIM_WHEELS names, and on sys.path. Raises GateError."""
    named = os.environ.get(VARIABLE, '')
    places = [*map(str, folders), *(part for part in named.split(os.pathsep) if part), *sys.path]
    return Wheels(dict.fromkeys(Path(place).resolve() for place in places if place))
