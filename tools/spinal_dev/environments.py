"""Virtual environments, each from one hash-pinned lock.

An environment is complete when its stamp holds the digest of what made it; the stamp is written
last, so an interrupted install is simply made again (uv's cache makes that quick).
"""

import hashlib
import os
import platform
import shutil
import sys
from pathlib import Path

from spinal_dev.paths import ENVIRONMENTS, LOCKS, SYSTEM_ROS
from spinal_dev.steps import DevError, run_step

SUPPORTED_MACHINES = ('x86_64', 'aarch64')
# What these wheels ask for cannot be resolved, and is not needed for what they are here for.
_WITHOUT_DEPENDENCIES = ('ros_bundle', 'isaac', 'physx')


def check_machine() -> None:
    """Raise DevError unless this is a processor and a system that the pinned wheels exist for."""
    machine, system = platform.machine(), platform.system()
    if system != 'Linux' or machine not in SUPPORTED_MACHINES:
        raise DevError(f'{system} on {machine} is not supported: Spinal runs on Linux on '
                       f'{" or ".join(SUPPORTED_MACHINES)}; use the containers in docker/ there')


def environment(name: str) -> Path:
    return ENVIRONMENTS / name


def site_packages(name: str) -> Path:
    return environment(name) / 'lib/python3.12/site-packages'


def python(name: str) -> Path:
    return environment(name) / 'bin' / 'python'


def ensure(name: str, *also: str) -> Path:
    """Make the environment of locks/<name>.txt unless it stands complete; return its folder.

    also: further locks whose wheels go into it.
    """
    folder = environment(name)
    locks = [LOCKS / f'{lock}.txt' for lock in (name, *also)]
    digest = _digest(locks)
    stamp = folder / 'spinal-stamp'
    if stamp.exists() and stamp.read_text() == digest:
        return folder
    check_machine()
    uv = _ensure_uv()
    shutil.rmtree(folder, ignore_errors=True)
    system_site = ['--system-site-packages'] if name == 'ros' and SYSTEM_ROS.is_dir() else []
    run_step(f'environment {name}: create',
             [uv, 'venv', '--python', sys.executable, '--no-python-downloads', *system_site,
              folder])
    for lock in locks:
        no_deps = ['--no-deps'] if lock.stem in _WITHOUT_DEPENDENCIES else []
        run_step(f'environment {name}: install {lock.stem}',
                 [uv, 'pip', 'install', '--python', folder / 'bin' / 'python', '--require-hashes',
                  *no_deps, '-r', lock], env=_uv_environment())
    stamp.write_text(digest)
    return folder


def lock() -> None:
    """Resolve every locks/*.in anew; the only place where a version may change."""
    uv = _ensure_uv()
    for source in sorted(LOCKS.glob('*.in')):
        no_deps = ['--no-deps'] if source.stem in _WITHOUT_DEPENDENCIES else []
        run_step(f'lock {source.stem}',
                 [uv, 'pip', 'compile', '--python-version', '3.12', '--universal', '--upgrade',
                  '--generate-hashes', *no_deps, source.name, '-o', f'{source.stem}.txt'],
                 env=_uv_environment() | {'UV_CUSTOM_COMPILE_COMMAND': './dev lock'}, cwd=LOCKS)


def _ensure_uv() -> Path:
    folder = environment('uv')
    stamp, digest = folder / 'spinal-stamp', _digest([LOCKS / 'uv.txt'])
    if not (stamp.exists() and stamp.read_text() == digest):
        shutil.rmtree(folder, ignore_errors=True)
        run_step('environment uv: create', [sys.executable, '-m', 'venv', folder])
        run_step('environment uv: install', [folder / 'bin' / 'python', '-m', 'pip', 'install',
                                             '--require-hashes', '-r', LOCKS / 'uv.txt'])
        stamp.write_text(digest)
    return folder / 'bin' / 'uv'


def _uv_environment() -> dict[str, str]:
    # uv does not read pip's settings; an index or a certificate set for pip is meant for both.
    env = dict(os.environ)
    for pip_name, uv_name in (('PIP_INDEX_URL', 'UV_INDEX_URL'), ('PIP_CERT', 'SSL_CERT_FILE')):
        if pip_name in env:
            env.setdefault(uv_name, env[pip_name])
    env['UV_LINK_MODE'] = 'hardlink'
    return env


def _digest(files: list[Path]) -> str:
    content = hashlib.sha256(f'{sys.version}|{platform.machine()}|{SYSTEM_ROS.is_dir()}'.encode())
    for file in files:
        content.update(file.read_bytes())
    return content.hexdigest()
