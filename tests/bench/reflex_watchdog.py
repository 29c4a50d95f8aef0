"""How soon `safety/enable` is withdrawn: from a signal to the reflex to the receipt of false."""

import os
import random
import signal
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import reflex_peers as peers
from reflex_driver import Driver
from std_msgs.msg import Bool

from bringup.group import Group

_MODULE = 'safety_watchdog'
_VALUE_AT = 4           # of a Bool, behind the CDR header
# It must see steady beats for a while before it enables, and the reflex takes a second to start.
_ENABLE_S = 15.0
# The promise is 100 ms; what takes so long was never withdrawn.
_WITHDRAW_S = 2.0


class NotMeasured(Exception):
    """The watchdog gave no figure; the message says why in one sentence."""


class Watchdog:
    """The watchdog of the reflex in `peers.REFLEX`, while the block runs, heard by the driver."""

    def __init__(self, driver: Driver, folder: Path) -> None:
        self._driver = driver
        self._enable: bool | None = None
        self._withdrawn_ns = 0
        self._group = Group([sys.executable, '-m', _MODULE, '--namespace', peers.REFLEX],
                            folder / 'watchdog.log', os.environ)
        driver.node.create_subscription(Bool, f'{peers.REFLEX}/safety/enable', self._hear, 1,
                                        raw=True)

    def __enter__(self) -> Self:
        self._group.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._group.__exit__(kind, error, trace)

    def wait_for_enable(self) -> None:
        """Until it has said true; raises NotMeasured with its own last words."""
        def told() -> bool:
            return self._enable is True or not self._group.alive
        self._driver.spin_until(told, _ENABLE_S)
        if self._enable is not True:
            said = self._group.tail(1) or 'it said nothing'
            raise NotMeasured(f'watchdog not measured: no enable within {_ENABLE_S:g} s ({said})')

    def withdrawn_ms(self, pid: int, number: signal.Signals) -> float:
        """From the signal to the first false. A stopped process goes on afterwards."""
        self.wait_for_enable()
        # Anywhere between two heartbeats.
        self._driver.spin_until(lambda: False, random.uniform(0.0, 0.05))
        if self._enable is not True:
            raise NotMeasured('watchdog not measured: it withdrew enable before the signal')
        sent_ns = time.perf_counter_ns()
        os.kill(pid, number)
        try:
            if not self._driver.spin_until(lambda: self._enable is False, _WITHDRAW_S):
                raise NotMeasured(f'enable was still true {_WITHDRAW_S:g} s after {number.name}')
        finally:
            if number is signal.SIGSTOP:
                os.kill(pid, signal.SIGCONT)
        return (self._withdrawn_ns - sent_ns) / 1e6

    def _hear(self, data: bytes) -> None:
        enable = data[_VALUE_AT] == 1
        if self._enable and not enable:
            self._withdrawn_ns = time.perf_counter_ns()
        self._enable = enable
