"""./dev doctor: what this machine has, what is missing, and what to do about it."""

import os
import platform
import resource
import shutil
import sys
from pathlib import Path

from spinal_dev import debian, node
from spinal_dev.environments import SUPPORTED_MACHINES, environment
from spinal_dev.paths import LOCKS, ROOT, SYSTEM_ROS

FREE_GB_WANTED = 6.0
_RECEIVE_BYTES = 32 << 20


def findings() -> list[tuple[str, str, str]]:
    """Rows of (ok | note | missing, what, the fact or the advice)."""
    rows = []
    machine = platform.machine()
    rows.append(('ok' if machine in SUPPORTED_MACHINES else 'missing', 'processor', machine))
    rows.append(('ok', 'python', f'{platform.python_version()} at {sys.executable}'))
    rows.append(('ok', 'ROS 2 Jazzy', str(SYSTEM_ROS) if SYSTEM_ROS.is_dir()
                 else 'from PyPI (isaacsim-ros2), in .spinal/'))
    free = shutil.disk_usage(ROOT).free / 1e9
    rows.append(('ok' if free > FREE_GB_WANTED else 'missing', 'disk',
                 f'{free:.0f} GB free; {FREE_GB_WANTED:.0f} GB are wanted'))
    rows += [('ok' if (environment(lock.stem) / 'spinal-stamp').exists() else 'note',
              f'environment {lock.stem}', 'complete' if (environment(lock.stem) / 'spinal-stamp')
              .exists() else 'is made when a verb first needs it')
             for lock in sorted(LOCKS.glob('*.txt')) if lock.stem != 'ros_bundle']
    lacking = {package.name for package in debian.missing()}
    rows += [('missing' if package.name in lacking else 'ok', f'debian {package.name}',
              package.gives if package.name in lacking else 'installed')
             for package in debian.PACKAGES if not package.tests_only]
    rows += [_node(), _realtime(), *_receive_buffer()]
    return rows


def _node() -> tuple[str, str, str]:
    reason = node.lacking()
    if reason:
        return ('note', 'node and npm', f'{reason}: the tests of bags by readers from npm are '
                'skipped (node 18 or newer, with npm)')
    complete = (environment('node') / 'spinal-stamp').exists()
    return ('ok', 'node and npm', f'readers of bags {"complete" if complete else "not yet there"}; '
            'for ./dev test only')


def _receive_buffer() -> list[tuple[str, str, str]]:
    """What a recorder of cameras needs of the kernel (config/dds/large_messages.xml)."""
    setting = Path('/proc/sys/net/core/rmem_max')
    if not setting.exists():
        return []
    size = int(setting.read_text())
    if size >= _RECEIVE_BYTES:
        return [('ok', 'receive buffers', f'net.core.rmem_max = {size}')]
    return [('note', 'receive buffers', f'net.core.rmem_max = {size}: recording several cameras '
             f'needs {_RECEIVE_BYTES} (sysctl -w, and a file in /etc/sysctl.d)')]


def _realtime() -> tuple[str, str, str]:
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        fifo = True
    except PermissionError:
        fifo = resource.getrlimit(resource.RLIMIT_RTPRIO)[0] > 0
    if fifo:
        return ('ok', 'SCHED_FIFO', 'allowed: the reflex gets a real-time priority')
    return ('note', 'SCHED_FIFO', 'not allowed: the reflex runs at normal priority and says so; '
            'set rtprio and memlock in /etc/security/limits.d for this user')


def run(install: bool) -> int:
    if install:
        debian.install(debian.missing())
    rows = findings()
    for level, what, fact in rows:
        print(f'{level:8}{what:28}{fact}')
    lacking = debian.missing()
    if lacking:
        print(f'\nTo have everything: {debian.install_line(lacking)}')
    return 0 if all(level != 'missing' for level, _, _ in rows) else 1
