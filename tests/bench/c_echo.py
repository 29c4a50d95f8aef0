"""Builds the C echo (echo_peer.c) with plain gcc, where the headers of rcl can be had.

A system ROS brings its headers. The bundle from PyPI brings the libraries only; there the headers
are taken from pinned wheels (rcl_headers.txt), once, into .spinal/bench.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from figures import ROOT

_SOURCE = Path(__file__).with_name('echo_peer.c')
_PINS = Path(__file__).with_name('rcl_headers.txt')
_SYSTEM_ROS = Path('/opt/ros/jazzy')
_PREFIX = ROOT / '.spinal/jazzy'
_FOLDER = ROOT / '.spinal/bench'
_LIBRARIES = ('rcl', 'rmw', 'rcutils', 'sensor_msgs__rosidl_typesupport_c',
              'geometry_msgs__rosidl_typesupport_c')


class CannotBuild(Exception):
    """There is no C echo on this machine; the message says why in one sentence."""


def build() -> Path:
    """The path of the executable; raises CannotBuild."""
    compiler = shutil.which('gcc')
    if compiler is None:
        raise CannotBuild('no C echo: gcc is not installed')
    prefix = _SYSTEM_ROS if _SYSTEM_ROS.is_dir() else _PREFIX
    headers = _SYSTEM_ROS / 'include' if _SYSTEM_ROS.is_dir() else _headers()
    _FOLDER.mkdir(parents=True, exist_ok=True)
    program = _FOLDER / 'echo_peer'
    _run([compiler, '-O2', '-std=c11', '-Wall', '-Wextra',
          *(f'-I{folder}' for folder in sorted(headers.iterdir())), str(_SOURCE),
          '-o', str(program), f'-L{prefix / "lib"}', *(f'-l{name}' for name in _LIBRARIES),
          # The libraries find each other at run time, by LD_LIBRARY_PATH.
          '-Wl,--allow-shlib-undefined'], 'gcc failed')
    return program


def _headers() -> Path:
    """include/ of the pinned wheels, downloaded where it is not there or the pins changed."""
    digest = hashlib.sha256(_PINS.read_bytes()).hexdigest()[:16]
    folder = _FOLDER / f'rcl_headers-{digest}'
    if folder.is_dir():
        return folder
    uv = ROOT / '.spinal/env/uv/bin/uv'
    wheels = _FOLDER / f'wheels-{os.getpid()}'
    try:
        # Hashes are checked; the wheels' Python and libraries are of no use and are dropped.
        _run([str(uv), 'pip', 'install', '--quiet', '--target', str(wheels),
              '--python', str(ROOT / '.spinal/env/ros/bin/python'), '--python-version', '3.11',
              '--no-deps', '--only-binary', ':all:', '--require-hashes', '-r', str(_PINS)],
             'the headers of rcl could not be downloaded')
        (wheels / 'include').rename(folder)
    finally:
        shutil.rmtree(wheels, ignore_errors=True)
    return folder


def _run(command: list[str], failed: str) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotBuild(f'no C echo: {failed}: {error}') from error
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ['no message'])[-1]
        raise CannotBuild(f'no C echo: {failed}: {last}')
