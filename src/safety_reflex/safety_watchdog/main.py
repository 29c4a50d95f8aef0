"""The process: one thread that waits for a beat or for its time, and says yes or no.

    ros2 run safety_reflex safety_watchdog --namespace robot_7
"""

import argparse
import ctypes
import gc
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from safety_watchdog import security
from safety_watchdog.beats import SECOND_NS, Heartbeat, Limits, Verdict

if TYPE_CHECKING:  # the binding is loaded only once it is known which one
    from safety_watchdog.dds import Channel

_MCL_CURRENT, _MCL_FUTURE = 1, 2
REFUSED = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM, which end it with 0; 2 when it refuses to start."""
    options = _options(list(sys.argv[1:] if arguments is None else arguments))
    # The middleware's threads inherit the priority of the one that starts them.
    for fact in prepare_realtime(options.realtime_priority):
        _say(f'without a real-time guarantee: {fact}')
    try:
        limits = Limits(timeout_ns=round(options.timeout_ms * 1e6), rate_hz=options.rate_hz,
                        minimum_share=options.min_share,
                        settle_ns=round(options.settle_s * SECOND_NS))
        channel = _join(options.namespace, options.binding)
    except (ValueError, Refused) as error:
        _say(f'refuses to enable: {error}')
        return REFUSED
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: ended.append(number))
    gc.collect()
    gc.freeze()
    gc.disable()
    _watch(channel, limits, round(SECOND_NS / options.rate_hz), ended)
    return 0


def prepare_realtime(priority: int) -> list[str]:
    """Ask for SCHED_FIFO and locked memory; a sentence for each that was not given."""
    if priority <= 0:
        return []
    lacking = []
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except OSError as error:
        lacking.append(f'SCHED_FIFO {priority} not given: {error.strerror}')
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
        lacking.append(f'memory not locked: {os.strerror(ctypes.get_errno())}')
    return lacking


class Refused(Exception):
    """It cannot watch, so it must not enable."""


def _join(namespace: str, binding: str) -> 'Channel':
    """A Channel, made with the cyclonedds package in the folder `binding`, or the installed one."""
    if binding:
        sys.path.insert(0, binding)
    try:
        from safety_watchdog import dds
    except (ImportError, OSError) as error:
        raise Refused(f'the cyclonedds binding cannot be loaded: {error}') from None
    secured = security.enabled(os.environ)
    try:
        return dds.Channel(dds.domain_id(os.environ), dds.configurations(os.environ), namespace,
                           security.properties(os.environ) if secured else None)
    except dds.NotJoined as error:
        if secured:
            raise Refused('it cannot join the secured domain, because this cyclonedds binding has '
                          'no DDS Security (docs/security.md tells how to build one that has) or '
                          f'its enclave is not let in: {error}') from None
        raise Refused(f'it cannot join the domain: {error}') from None


def _watch(channel: 'Channel', limits: Limits, period_ns: int, ended: list[int]) -> None:
    heartbeat = Heartbeat(limits, time.monotonic_ns())
    shown = Verdict(False, '')
    next_write_ns = next_look_ns = time.monotonic_ns()
    writers = 1
    while not ended:
        deadline_ns = heartbeat.deadline_ns()
        wake_ns = next_write_ns if deadline_ns is None else min(next_write_ns, deadline_ns)
        channel.wait(wake_ns - time.monotonic_ns())
        now_ns = time.monotonic_ns()
        for beat in channel.take():
            heartbeat.beat(beat.writer, beat.value, now_ns)
        verdict = heartbeat.verdict(now_ns)
        if now_ns >= next_look_ns:
            writers = channel.enable_writers()
            next_look_ns = now_ns + SECOND_NS // 4
        if verdict.enable and writers > 1:
            verdict = Verdict(False, f'{writers} publishers of safety/enable')
        if now_ns >= next_write_ns or verdict.enable != shown.enable:
            channel.write(verdict.enable)
        if now_ns >= next_write_ns:
            next_write_ns = max(next_write_ns + period_ns, now_ns)
        if verdict != shown:
            _say(f'enable {str(verdict.enable).lower()}: {verdict.reason}')
            shown = verdict
    channel.write(False)
    _say('enable false: the watchdog ends')


def _options(arguments: list[str]) -> argparse.Namespace:
    # ros2 launch appends --ros-args: meant for rclpy, which is not here.
    if '--ros-args' in arguments:
        arguments = arguments[:arguments.index('--ros-args')]
    limits = Limits()
    parser = argparse.ArgumentParser(
        prog='safety_watchdog',
        description='Publishes safety/enable: true only while safety/heartbeat lives.')
    parser.add_argument('--namespace', default='', help='the robot\'s namespace, as in robot_7')
    parser.add_argument('--timeout-ms', type=float, default=limits.timeout_ns / 1e6,
                        help='a beat older than this is a dead reflex (default %(default)g)')
    parser.add_argument('--rate-hz', type=float, default=limits.rate_hz,
                        help='beats a second, and verdicts a second (default %(default)g)')
    parser.add_argument('--min-share', type=float, default=limits.minimum_share,
                        help='so much of the beats of the last second (default %(default)g)')
    parser.add_argument('--settle-s', type=float, default=limits.settle_ns / 1e9,
                        help='steady beats for so long before enable (default %(default)g)')
    parser.add_argument('--realtime-priority', type=int, default=85, choices=range(96),
                        metavar='0..95', help='SCHED_FIFO; 0 asks for none (default %(default)s)')
    parser.add_argument('--binding', default='', metavar='FOLDER',
                        help='a cyclonedds package with DDS Security (docs/security.md)')
    return parser.parse_args(arguments)


def _say(line: str) -> None:
    print(f'safety_watchdog: {line}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    sys.exit(main())
