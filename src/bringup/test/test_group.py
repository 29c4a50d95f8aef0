"""A command in a group: it ends with its owner, and it can always be interrupted."""

import os
import signal
import subprocess
import sys
import time

from bringup.group import Group

WAITER = [sys.executable, '-c', 'import time\ntry:\n  print("up", flush=True); time.sleep(60)\n'
          'except KeyboardInterrupt:\n  print("interrupted", flush=True)']


def wait_for(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_it_is_interrupted_on_exit(tmp_path):
    with Group(WAITER, tmp_path / 'log') as group:
        wait_for(lambda: 'up' in group.log.read_text())
        assert group.alive
    assert not group.alive
    assert group.tail().splitlines() == ['up', 'interrupted']


def test_an_ignored_interrupt_is_not_handed_down(tmp_path):
    """What a shell does to its background jobs; they would be killed only after the grace."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Group(WAITER, tmp_path / 'log') as group:
            wait_for(lambda: 'up' in group.log.read_text())
            begin = time.monotonic()
        assert time.monotonic() - begin < 5
        assert 'interrupted' in group.tail()
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_does_not_outlive_its_owner(tmp_path):
    log = tmp_path / 'log'
    owner = subprocess.Popen([sys.executable, '-c', f'''
import sys, time
from pathlib import Path
from bringup.group import Group
with Group({WAITER!r}, Path({str(log)!r})):
    time.sleep(60)
'''])
    wait_for(lambda: log.exists() and 'up' in log.read_text())
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    wait_for(lambda: 'interrupted' in log.read_text())
