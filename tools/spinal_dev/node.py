"""The npm packages of tests/bag_readers: readers of bags that only tests ask.

They come from a lock with a digest for each package, through npm's own settings on this machine;
nothing in a package is run while it is installed.
"""

import hashlib
import shutil
import subprocess
from pathlib import Path

from spinal_dev.environments import environment
from spinal_dev.paths import ROOT
from spinal_dev.steps import DevError, run_step

OLDEST_NODE = 18
_SOURCE = ROOT / 'tests' / 'bag_readers'
_FILES = ('package.json', 'package-lock.json', '.npmrc')


def lacking() -> str | None:
    """What keeps this machine from running npm's packages, in one phrase; None if nothing does."""
    for command in ('node', 'npm'):
        if shutil.which(command) is None:
            return f'{command} is not installed'
    version = subprocess.run(['node', '--version'], capture_output=True, text=True,
                             check=False).stdout.strip()
    major = version.removeprefix('v').split('.')[0]
    if not major.isdecimal() or int(major) < OLDEST_NODE:
        return f'node is {version or "broken"}, and {OLDEST_NODE} is the oldest that will do'
    return None


def ensure_node() -> Path:
    """Make .spinal/env/node unless it stands complete; return it. Raises DevError."""
    folder = environment('node')
    digest = hashlib.sha256(b''.join((_SOURCE / name).read_bytes() for name in _FILES)).hexdigest()
    stamp = folder / 'spinal-stamp'
    if stamp.exists() and stamp.read_text() == digest:
        return folder
    if reason := lacking():
        raise DevError(f'{reason}; ./dev doctor --install installs Debian\'s')
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in _FILES:
        shutil.copy(_SOURCE / name, folder / name)
    run_step('environment node: npm ci', ['npm', 'ci', '--ignore-scripts', '--no-audit',
                                          '--no-fund'], cwd=folder)
    stamp.write_text(digest)
    return folder
