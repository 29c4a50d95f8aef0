"""Debian packages that Spinal uses where they are present, and what is lost without each."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from spinal_dev.steps import DevError, run_step


@dataclass(frozen=True)
class DebianPackage:
    name: str
    gives: str


PACKAGES = (
    DebianPackage('libegl1', 'the simulated camera (without it the camera is masked)'),
    DebianPackage('libgl1-mesa-dri', 'the simulated camera (without it the camera is masked)'),
)


def missing() -> list[DebianPackage]:
    """Packages of the list that dpkg does not hold; empty where there is no dpkg to ask."""
    if shutil.which('dpkg-query') is None:
        return []
    return [package for package in PACKAGES if subprocess.run(
        ['dpkg-query', '-W', '-f', '${Status}', package.name], capture_output=True, text=True,
        check=False).stdout != 'install ok installed']


def install_line(packages: list[DebianPackage]) -> str:
    return f'sudo apt-get install -y {" ".join(p.name for p in packages)}'


def install(packages: list[DebianPackage]) -> None:
    """Install with apt-get; raises DevError with the line to run when this user may not."""
    if not packages:
        return
    if os.geteuid() != 0:
        raise DevError(f'only root can install Debian packages; run: {install_line(packages)}')
    env = dict(os.environ) | {'DEBIAN_FRONTEND': 'noninteractive'}
    run_step('debian: apt-get update', ['apt-get', 'update'], env=env)
    run_step('debian: apt-get install',
             ['apt-get', 'install', '-y', *[p.name for p in packages]], env=env)
