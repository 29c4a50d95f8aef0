"""Debian packages that Spinal uses where they are present, and what is lost without each."""

import os
import shutil
import subprocess
from dataclasses import dataclass

from spinal_dev.steps import DevError, run_step


@dataclass(frozen=True)
class DebianPackage:
    """command: what the package is for; where that runs, from anywhere, nothing is missing."""

    name: str
    gives: str
    command: str = ''
    tests_only: bool = False


PACKAGES = (
    DebianPackage('libegl1', 'the simulated camera (without it the camera is masked)'),
    DebianPackage('libgl1-mesa-dri', 'the simulated camera (without it the camera is masked)'),
    DebianPackage('nodejs', 'the tests of bags by readers from npm', 'node', tests_only=True),
    DebianPackage('npm', 'the tests of bags by readers from npm', 'npm', tests_only=True),
)


def missing(for_tests: bool = True) -> list[DebianPackage]:
    """Packages of the list that dpkg does not hold; empty where there is no dpkg to ask.

    for_tests: with those that only tests need.
    """
    if shutil.which('dpkg-query') is None:
        return []
    return [package for package in PACKAGES if (for_tests or not package.tests_only)
            and not _is_there(package)]


def _is_there(package: DebianPackage) -> bool:
    if package.command and shutil.which(package.command):
        return True
    status = subprocess.run(['dpkg-query', '-W', '-f', '${Status}', package.name],
                            capture_output=True, text=True, check=False).stdout
    return status == 'install ok installed'


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
