"""The colcon workspace: built when its packages changed shape, and its environment remembered.

Packages are installed as links, so an edited or new module needs no build. A changed setup.py,
package.xml or colcon.meta does, and a new launch, configuration or model file; the digest covers
these.
"""

import hashlib
import json
import os
import subprocess
from pathlib import Path

from spinal_dev.environments import python
from spinal_dev.paths import PACKAGE_FOLDERS, ROOT, STATE
from spinal_dev.ros import ensure_ros
from spinal_dev.steps import DevError, exclusive, run_step

_MEMORY = STATE / 'workspace.json'
_SHAPE_FILES = {'setup.py', 'setup.cfg', 'package.xml', 'colcon.meta'}
_LINKED_FOLDERS = (ROOT / 'launch', ROOT / 'config', ROOT / 'docker' / 'triton')


def ensure_workspace() -> dict[str, str]:
    """Install, build what changed, and return the environment of the sourced workspace."""
    with exclusive():
        ros = ensure_ros()
        digest = _digest(ros)
        if _MEMORY.exists():
            try:
                memory = json.loads(_MEMORY.read_text())
            except json.JSONDecodeError:
                memory = {}
            if memory.get('digest') == digest and (ROOT / 'install' / 'setup.bash').exists():
                return _personal(memory['variables'])
        _remove_dangling_links(ROOT / 'install')
        run_step('workspace: colcon build', [python('ros'), '-m', 'colcon', '--log-base',
                                             STATE / 'log' / 'colcon', 'build',
                                             '--symlink-install', '--event-handlers',
                                             'console_direct+'], env=ros)
        variables = _sourced_workspace(ros)
        _MEMORY.write_text(json.dumps({'digest': digest, 'variables': variables}))
        return _personal(variables)


def _personal(variables: dict[str, str]) -> dict[str, str]:
    """The remembered variables, over what the caller's shell says now."""
    now = dict(os.environ)
    keep = ('ROS_DOMAIN_ID', 'ROS_LOG_DIR', 'RMW_IMPLEMENTATION', 'CYCLONEDDS_URI',
            'ROS_AUTOMATIC_DISCOVERY_RANGE', 'TERM', 'HOME', 'USER', 'CI')
    return variables | {name: value for name, value in now.items()
                        if name in keep or name.startswith(('SPINAL_', 'ROS_SECURITY_'))}


def _sourced_workspace(ros: dict[str, str]) -> dict[str, str]:
    output = subprocess.run(
        ['bash', '-c', f'source "{ROOT}/install/setup.bash" >/dev/null && exec env -0'],
        check=True, capture_output=True, env=ros).stdout
    variables = dict(entry.split('=', 1) for entry in output.decode().split('\0') if '=' in entry)
    for path in ros['PYTHONPATH'].split(os.pathsep):
        if path not in variables['PYTHONPATH'].split(os.pathsep):
            raise DevError('sourcing the workspace lost the ROS path; remove build/ and install/ '
                           'and run ./dev again')
    return variables


def _digest(ros: dict[str, str]) -> str:
    content = hashlib.sha256()
    for name in ('AMENT_PREFIX_PATH', 'PYTHONPATH', 'VIRTUAL_ENV'):
        content.update(f'{name}={ros.get(name, "")}\n'.encode())
    for path in _files():
        content.update(f'{path.relative_to(ROOT)}\n'.encode())
        if path.name in _SHAPE_FILES:
            content.update(path.read_bytes())
    return content.hexdigest()


def _files() -> list[Path]:
    shape = [ROOT / 'colcon.meta']
    for folder in PACKAGE_FOLDERS:
        for package in (folder, *folder.iterdir()):
            shape += [package / name for name in _SHAPE_FILES]
    linked = [Path(base) / name for folder in _LINKED_FOLDERS
              for base, _, names in os.walk(folder) for name in names
              if not name.endswith('.pyc')]
    return sorted(path for path in {*shape, *linked} if path.exists())


def _remove_dangling_links(folder: Path) -> None:
    """A file that left the sources must leave the install, which only links to it."""
    for base, _, names in os.walk(folder):
        for path in (Path(base) / name for name in names):
            if path.is_symlink() and not path.exists():
                path.unlink()
