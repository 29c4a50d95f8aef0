"""What runs during the demo: a real Triton, a real object store, the demo target, and the probe.

Light to import on purpose: everything starts while the rest of the demo is still loading.
"""

import os
import random
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ament_index_python.packages import get_package_share_directory

from bringup.group import Group
from edge_case_recorder.desk_bucket import DeskBucket
from policy_client.desk_triton import DeskTriton

BUCKET = 'edge-cases'


class Stage:
    """Servers and nodes on loopback, in a ROS domain of their own; all gone after the `with`."""

    def __init__(self, out: Path, seed: int, scenario: str, camera: str,
                 domain: int | None) -> None:
        self.out, self._scenario = out, scenario
        self._launch = [f'seed:={seed}', f'scenario:={scenario}', f'camera:={camera}']
        # A demo must not meet a robot, a colleague, or another demo.
        self._domain = domain or random.SystemRandom().randint(110, 210)
        share = Path(get_package_share_directory('bringup'))
        self.config = share / 'config'
        self.triton = DeskTriton(share / 'docker/triton/model_repository', folder=out / 'triton')
        self.bucket = DeskBucket(out / 'bucket', bucket=BUCKET)
        self._stack = ExitStack()
        self._ending: threading.Thread | None = None

    def __enter__(self) -> Self:
        os.environ['ROS_DOMAIN_ID'] = str(self._domain)
        with ExitStack() as stack:
            stack.callback(self.triton.close)
            self.triton.start(wait=False)  # its client waits for it
            stack.enter_context(self.bucket)
            os.environ.update(self.bucket.environment)
            logs = self.out / 'log'
            self.nodes = stack.enter_context(Group(
                ['ros2', 'launch', '--noninteractive', 'bringup', 'demo.launch.py', *self._launch,
                 f'triton:=desk={self.triton.endpoint}', f'bucket:={self.bucket.uri}',
                 f'spool_dir:={self.out / "spool"}',
                 f'black_box_dir:={self.out / "black_box"}'], logs / 'launch.log',
                os.environ | {'ROS_LOG_DIR': str(logs), 'PYTHONUNBUFFERED': '1'}))
            self.probe = stack.enter_context(Group(
                [sys.executable, '-m', 'bringup.demo.probe', str(self.out / 'latency.json')],
                logs / 'probe.log'))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self._ending is not None:
            self._ending.join()
        self._stack.close()

    @property
    def scenario_file(self) -> Path:
        return self.config / 'scenarios' / self._scenario

    def act(self, action: str) -> None:
        """What an operator of the servers does; none of it may hold up the watching."""
        if action == 'kill_triton':
            self.triton.kill()
        elif action == 'restart_triton':
            self.triton.start(wait=False)
        elif action.startswith('drill_'):
            threading.Thread(target=self.triton.reload, daemon=True,
                             kwargs={'drill': action.removeprefix('drill_')}).start()

    def broken(self) -> str | None:
        """What ended that should run, with its last words."""
        return None if self.nodes.alive else f'ros2 launch ended:\n{self.nodes.tail()}'

    def end_nodes(self) -> None:
        """Begin to end the nodes, in order; leaving the `with` waits for that."""
        self.probe.stop()
        self._ending = threading.Thread(target=self.nodes.stop)
        self._ending.start()
