"""The processes of the reflex bench: the reflex, its floors in Python and in C, and the hogs.

Each peer answers every `scan` in its namespace with a `cmd_vel` that carries the scan's stamp.
"""

import math
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil
import yaml
from figures import ROOT

from bringup.group import Group

REFLEX, ECHO, C_ECHO = '/a', '/b', '/c'
_ROBOT, _FIELDS = ROOT / 'config/robots/amr.yaml', ROOT / 'config/robots/amr.fields.yaml'
# Where a console script would be found depends on the installation; what it runs does not.
_NODE = 'from safety_reflex.node import main; main()'
_HOG = 'while True: pass'


def reflex(robot: Path, folder: Path, fields: Path = _FIELDS, namespace: str = REFLEX,
           env: Mapping[str, str] | None = None) -> Group:
    """The real node; its process is the group's leader, so a signal to the group is one to it."""
    return _peer([sys.executable, '-c', _NODE, '--ros-args', '-p', f'robot_file:={robot}', '-p',
                  f'fields_file:={fields}'], folder, namespace, env)


def echo(folder: Path, namespace: str = ECHO, env: Mapping[str, str] | None = None) -> Group:
    """The bare rclpy echo."""
    return _peer([sys.executable, str(Path(__file__).with_name('echo_peer.py')), '--ros-args'],
                 folder, namespace, env)


def c_echo(program: Path, folder: Path, namespace: str = C_ECHO,
           env: Mapping[str, str] | None = None) -> Group:
    """The bare echo in C, as c_echo.build() made it."""
    return _peer([str(program), '--ros-args'], folder, namespace, env)


def _peer(command: list[str], folder: Path, namespace: str,
          env: Mapping[str, str] | None) -> Group:
    return Group([*command, '-r', f'__ns:={namespace}'], folder / f'{namespace.strip("/")}.log',
                 os.environ | {'ROS_LOG_DIR': str(folder)} | dict(env or {}))


def process_of(group: Group) -> psutil.Process:
    """The process of a peer: the child of this one whose output goes to the group's log."""
    for child in psutil.Process().children():
        if os.path.realpath(f'/proc/{child.pid}/fd/1') == str(group.log.resolve()):
            return child
    raise RuntimeError(f'no process writes to {group.log}: {group.tail(4)}')


@contextmanager
def busy_cores(wanted: bool) -> Iterator[None]:
    """A busy loop for every core, at the ordinary priority, while the block runs."""
    hogs = [subprocess.Popen([sys.executable, '-I', '-S', '-c', _HOG], stdin=subprocess.DEVNULL)
            for _ in range(os.cpu_count() or 1)] if wanted else []
    try:
        yield
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()


def robot_file(beams: int, folder: Path) -> Path:
    """The AMR with a scanner of so many beams, all round."""
    robot = yaml.safe_load(_ROBOT.read_text())
    robot['lidars'][0] |= {'beams': beams, 'angle_min_rad': -math.pi,
                           'angle_max_rad': math.pi - 2 * math.pi / beams}
    path = folder / f'robot_{beams}.yaml'
    path.write_text(yaml.safe_dump(robot))
    return path


def fields_file(sets: int, folder: Path) -> Path:
    """The AMR's fields with so many sets: the last of its speeds, and the rest spread below it."""
    fields = yaml.safe_load(_FIELDS.read_text())
    speeds = fields['speeds_mps']
    places = [round(i * (len(speeds) - 1) / (sets - 1)) for i in range(sets)]
    fields['speeds_mps'] = [speeds[place] for place in places]
    path = folder / f'fields_{sets}.yaml'
    path.write_text(yaml.safe_dump(fields))
    return path
