"""The recorder's node in a process of its own, its operator, and the processes around it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import psutil
import rclpy
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.experimental import EventsExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from recorder_robot import READY
from reflex_peers import process_of
from std_msgs.msg import String
from std_srvs.srv import Trigger

from bringup.group import Group

_LIMIT_S = 30.0
_EVENTS = QoSProfile(depth=50, reliability=ReliabilityPolicy.RELIABLE,
                     durability=DurabilityPolicy.TRANSIENT_LOCAL)


class RigFailed(RuntimeError):
    """A process did not come up or did not answer; there is nothing to measure."""


class Peer:
    """recorder_robot.py in a process; it ends with its input, so with this one at the latest."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name('recorder_robot.py')), *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.usage = Usage(psutil.Process(self._process.pid))
        self._line(READY)

    def tell(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + '\n')
        self._process.stdin.flush()

    def answer(self) -> dict[str, int]:
        found: dict[str, int] = json.loads(self._line('{'))
        return found

    def end(self) -> None:
        """Close its input and wait until it is gone."""
        self._process.communicate(timeout=_LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def _line(self, start: str) -> str:
        """The next line that begins so; rcl may print others."""
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(start):
                return line
        raise RigFailed('a peer of the recorder ended')


class Usage:
    """CPU time of a process with all its threads, and its resident memory; proc(5)."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self.begin()

    def begin(self) -> None:
        self._cpu_s, self._at_s = self._used_s(), time.monotonic()

    def share(self) -> tuple[float, float]:
        """(CPU seconds, seconds) since `begin`."""
        return self._used_s() - self._cpu_s, time.monotonic() - self._at_s

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rss_mb(self) -> float:
        return self._process.memory_info().rss / 1e6

    def peak_mb(self) -> float:
        """The most that was resident since `forget_peak`."""
        status = Path(f'/proc/{self.pid}/status').read_text()
        return float(status.partition('VmHWM:')[2].split()[0]) * 1024 / 1e6

    def forget_peak(self) -> None:
        Path(f'/proc/{self.pid}/clear_refs').write_text('5')

    def _used_s(self) -> float:
        """Of all threads, in ns where /proc/<pid>/stat has hundredths of a second."""
        return sum(int((task / 'schedstat').read_text().split()[0])
                   for task in Path(f'/proc/{self.pid}/task').iterdir()) / 1e9


class Recorder:
    """The node; on entry it is configured (and idle), on exit it is gone."""

    def __init__(self, folder: Path, parameters: Mapping[str, Any]) -> None:
        self.spool = folder / 'spool'
        given = {'spool_dir': self.spool, 'min_free_bytes': 0, 'robot_id': 'bench', **parameters}
        self._group = Group(
            [sys.executable, '-m', 'edge_case_recorder.node', '--ros-args',
             *(part for name, value in given.items() for part in ('-p', f'{name}:={value}'))],
            folder / 'recorder.log', os.environ | {'ROS_LOG_DIR': str(folder)})

    def __enter__(self) -> Self:
        self._group.__enter__()
        self._finished: dict[str, float] = {}
        self._changed = threading.Condition()
        self._context = rclpy.Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node('operator', context=self._context)
        self._node.create_subscription(String, 'recorder/event', self._on_event, _EVENTS)
        self._change = self._node.create_client(ChangeState, 'edge_case_recorder/change_state')
        self._mark = self._node.create_client(Trigger, 'recorder/mark')
        self._executor = EventsExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        try:
            self.change(Transition.TRANSITION_CONFIGURE)
        except RigFailed:
            self.__exit__()
            raise
        self.usage = Usage(process_of(self._group))
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._thread.join(5.0)
        self._node.destroy_node()
        self._context.try_shutdown()
        self._group.stop()

    def change(self, transition: int) -> None:
        """Raises RigFailed."""
        if not self._change.wait_for_service(_LIMIT_S):
            raise RigFailed(f'the recorder does not answer: {self._group.tail(4)}')
        answer = self._call(self._change,
                            ChangeState.Request(transition=Transition(id=transition)))
        if not answer.success:
            raise RigFailed(f'transition {transition} failed: {self._group.tail(4)}')

    def activate(self) -> None:
        self.change(Transition.TRANSITION_ACTIVATE)

    def wait_until_it_hears(self, topics: Sequence[str]) -> None:
        """Raises RigFailed unless it has subscribed to all of them in time."""
        limit = time.monotonic() + _LIMIT_S
        while not all(any(each.node_name == 'edge_case_recorder' for each in
                          self._node.get_subscriptions_info_by_topic(topic)) for topic in topics):
            if time.monotonic() > limit:
                raise RigFailed(f'it does not listen to all topics: {self._group.tail(4)}')
            time.sleep(0.02)

    def deactivate(self) -> None:
        self.change(Transition.TRANSITION_DEACTIVATE)

    def mark(self) -> str:
        """The id of the case that begins."""
        answer = self._call(self._mark, Trigger.Request())
        if not answer.success:
            raise RigFailed(answer.message)
        return str(answer.message)

    def wait_for(self, case_id: str, limit_s: float = _LIMIT_S) -> float:
        """Until the case is announced; when that was, in s since the epoch."""
        with self._changed:
            if not self._changed.wait_for(lambda: case_id in self._finished, limit_s):
                raise RigFailed(f'{case_id} does not end: {self._group.tail(4)}')
            return self._finished[case_id]

    def _call(self, client: Any, request: Any) -> Any:
        future, done = client.call_async(request), threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(_LIMIT_S):
            raise RigFailed(f'no answer: {self._group.tail(4)}')
        return future.result()

    def _on_event(self, message: String) -> None:
        with self._changed:
            self._finished[json.loads(message.data)['case_id']] = time.time()
            self._changed.notify_all()
