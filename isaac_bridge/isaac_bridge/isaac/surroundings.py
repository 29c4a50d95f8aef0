"""What a computer has for the application: each finding is a row, and none raises."""

import dataclasses
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from . import assets, session
from .transfer import open_source

OK, FAILED, NOT_HERE = 'ok', 'FAILED', 'not here'
MINIMUM_DRIVER = (535, 161)     # of Isaac Sim 6.2's own compatibility check, on Linux
PYTHON = ('numpy', 'yaml', 'jsonschema', 'referencing', 'node_kit', 'isaac_bridge')
BLIND = ('A100', 'H100', 'H200')    # they compute, but have no ray-tracing cores to render with
BRIDGE = Path('exts') / 'isaacsim.ros2.core' / 'jazzy'
QUERY = '--query-gpu=name,driver_version,memory.total'


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    status: str         # OK, FAILED, NOT_HERE
    detail: str


def gpu() -> list[Row]:
    """The driver and the first GPU, by nvidia-smi."""
    if shutil.which('nvidia-smi') is None:
        return [Row('GPU', NOT_HERE, 'no nvidia-smi'), Row('driver', NOT_HERE, 'no nvidia-smi')]
    try:
        done = subprocess.run(['nvidia-smi', QUERY, '--format=csv,noheader'], timeout=30,
                              capture_output=True, text=True, check=False)
    except (OSError, subprocess.TimeoutExpired) as problem:
        return [Row('GPU', FAILED, f'nvidia-smi: {problem}')]
    if done.returncode != 0:
        return [Row('GPU', FAILED, f'nvidia-smi: {(done.stdout or done.stderr).strip()[:80]}')]
    return rows_of_gpu(done.stdout)


def rows_of_gpu(text: str) -> list[Row]:
    """Of nvidia-smi's lines: name, driver, memory."""
    lines = [[part.strip() for part in line.split(',')] for line in text.splitlines() if line]
    if not lines or len(lines[0]) != 3:
        return [Row('GPU', NOT_HERE, 'nvidia-smi names none')]
    name, driver, memory = lines[0]
    numbers = tuple(int(part) for part in driver.split('.') if part.isdigit())
    fine = numbers >= MINIMUM_DRIVER
    least = '.'.join(map(str, MINIMUM_DRIVER))
    blind = any(word in name for word in BLIND)
    return [Row('GPU', FAILED if blind else OK, f'{name}, {memory}, {len(lines)} in all'
                + ('; it has no ray-tracing cores' if blind else '')),
            Row('driver', OK if fine else FAILED,
                driver if fine else f'{driver}: Isaac Sim 6.2 wants {least} or newer')]


def isaac_folder() -> Path | None:
    """Where Isaac Sim is: ISAAC_PATH, or the pip package."""
    named = os.environ.get('ISAAC_PATH')
    if named:
        return Path(named)
    found = importlib.util.find_spec('isaacsim')
    for place in (found.submodule_search_locations or []) if found is not None else []:
        if (Path(place) / 'VERSION').is_file():
            return Path(place)
    return None


def isaac(folder: Path | None) -> list[Row]:
    """Version, experience, extensions and the bridge's libraries of an Isaac Sim."""
    names = ('Isaac Sim', 'experience', 'extensions', 'ROS bridge libraries')
    if folder is None:
        return [Row(name, NOT_HERE, 'no Isaac Sim: run this with its python.sh') for name in names]
    version_file = folder / 'VERSION'
    version = version_file.read_text().strip() if version_file.is_file() else 'no VERSION file'
    experience = folder / 'apps' / session.EXPERIENCE
    present = {entry.name.partition('-')[0] for kind in ('exts', 'extscache')
               for entry in (folder / kind).glob('*')}
    missing = [name for name in session.EXTENSIONS if name not in present]
    library = folder / BRIDGE / 'lib' / 'librcl.so'
    return [
        Row(names[0], OK if version.startswith('6.2.') else FAILED, f'{version}, {folder}'),
        Row(names[1], OK if experience.is_file() else FAILED, str(experience)),
        Row(names[2], FAILED if missing else OK, f'missing: {", ".join(missing)}' if missing
            else f'{len(session.EXTENSIONS)} of {len(session.EXTENSIONS)}'),
        Row(names[3], OK if library.is_file() else FAILED, str(library))]


def python_packages() -> Row:
    missing = [name for name in PYTHON if importlib.util.find_spec(name) is None]
    if missing:
        return Row('Python packages', FAILED, f'missing: {", ".join(missing)} (README, On a DGX)')
    return Row('Python packages', OK, f'{", ".join(PYTHON)}; Python {sys.version.split()[0]}')


def usd(folder: Path | None) -> Row:
    """Whether this Python can author a stage. Isaac Sim brings its own USD once it runs; usd-core
    must not be installed beside that."""
    try:
        from pxr import Usd

        from ..stage import author
    except ImportError as problem:
        if folder is None:
            return Row('USD', NOT_HERE, str(problem))
        return Row('USD', OK, "Isaac Sim's own, once it runs: see boots")
    return Row('USD', OK, f'{".".join(map(str, Usd.GetVersion()))}; {author.__name__}')


def find_ros(folder: Path | None) -> bool:
    """Whether rclpy can be imported here, by this process and those that it starts. The one that an
    Isaac Sim brings is put on the path, as its own extension does once it runs."""
    if importlib.util.find_spec('rclpy') is not None:
        return True
    place = folder / BRIDGE / 'rclpy' if folder is not None else None
    if place is None or not (place / 'rclpy').is_dir():
        return False
    sys.path.append(str(place))
    known = [part for part in os.environ.get('PYTHONPATH', '').split(os.pathsep) if part]
    os.environ['PYTHONPATH'] = os.pathsep.join([*known, str(place)])
    return True


def rmw() -> Row:
    """Which middleware ROS will load."""
    name = os.environ.get('RMW_IMPLEMENTATION', '')
    domain = os.environ.get('ROS_DOMAIN_ID', '0')
    if not name:
        return Row('RMW', FAILED, 'RMW_IMPLEMENTATION is not set: start with python.sh, or source '
                   'ROS first')
    return Row('RMW', OK, f'{name}, domain {domain}')


def default_root(folder: Path | None) -> str | None:
    """The asset root that an Isaac Sim has as its setting, if nothing else was set."""
    if folder is None:
        return None
    path = folder / 'exts' / 'isaacsim.storage.native' / 'config' / 'extension.toml'
    try:
        settings = tomllib.loads(path.read_text())['settings']
        for part in assets.ROOT_SETTING.strip('/').split('/'):
            settings = settings[part]
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError):
        return None
    return str(settings)


def asset_root(probe: str | None, folder: Path | None) -> Row:
    """probe: a file below the root that must be there; without it the root is named, not read."""
    try:
        root = assets.asset_root(lambda _: default_root(folder))
    except assets.AssetError as problem:
        return Row('asset root', NOT_HERE, str(problem))
    if root.startswith('omniverse://'):
        return Row('asset root', NOT_HERE, f'{root}: only a running Isaac Sim reads Nucleus')
    if probe is None and '://' not in root:
        return Row('asset root', OK if Path(root).is_dir() else FAILED, root)
    if probe is None:
        return Row('asset root', NOT_HERE, f'{root}: not read, give --probe a file of it')
    try:
        with open_source(f'{root}/{probe}'):
            return Row('asset root', OK, f'{root}/{probe} can be read')
    except OSError as problem:
        return Row('asset root', FAILED, f'{root}/{probe}: {problem}')


def cache(folder: Path) -> Row:
    """Whether the cache of assets can be written, and what room its disk has."""
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if not os.access(place, os.W_OK):
        return Row('cache', FAILED, f'{place} cannot be written')
    used = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    return Row('cache', OK, f'{folder}: {used / 2**20:.0f} MiB, {free / 2**30:.0f} GiB free')
