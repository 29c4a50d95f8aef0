"""Carries finished cases from the spool to the bucket; a process of its own, without ROS.

All it knows is in the spool and in the bucket, so it may be killed anywhere and started again: it
goes on within the object, at most one chunk is sent again, and a name that is taken by equal
content counts as sent. The manifest goes last and is the commit mark.

    uploader --spool DIR --bucket gs://name/prefix [--limit BYTES_PER_S] [--schedule FILE]
             [--metrics PORT] [--key FILE]
"""

import argparse
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edge_case_recorder.durable import take_lock
from edge_case_recorder.sealing import Key, SealError
from edge_case_recorder.spool import State, cases
from edge_case_recorder.store import StoreError, open_store
from edge_case_recorder.uploading.carrier import Carrier, Step, Uploader
from edge_case_recorder.uploading.pace import TokenBucket
from edge_case_recorder.uploading.schedule import Schedule, ScheduleError, read_schedule
from edge_case_recorder.uploading.status import StatusFile

LOCK = '.uploader/lock'
_log = logging.getLogger('uploader')


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload until told to end, or with --once until nothing waits; 1 when something still does."""
    options = _options(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout,
                        format='%(asctime)s %(levelname)s %(message)s')
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        schedule = read_schedule(options.schedule) if options.schedule else Schedule()
        cap = TokenBucket(options.limit, time.monotonic()) if options.limit is not None else None
        keys = tuple(Key.read(path) for path in options.key)
        store = open_store(options.bucket, cap)
    except (ValueError, ScheduleError, SealError, StoreError) as error:
        print(f'uploader: {error}', file=sys.stderr)
        return 2
    try:
        lock = _lock(options.spool)
    except OSError as error:
        print(f'uploader: {options.spool}: {error.strerror or error}', file=sys.stderr)
        return 2
    try:
        return _carry(options, Carrier(options.spool, store, schedule, keys=keys), stop)
    finally:
        os.close(lock)


def _carry(options: argparse.Namespace, carrier: Carrier, stop: threading.Event) -> int:
    told: list[Callable[[Step], None]] = [StatusFile(carrier).wrote]
    if options.metrics:
        try:
            told.append(_meters(carrier, options.metrics, options.limit))
        except (ImportError, OSError, ValueError) as error:
            print(f'uploader: --metrics {options.metrics}: {error}', file=sys.stderr)
            return 2
    uploader = Uploader(carrier, stop, on_step=lambda step: _tell(told, step))
    if not options.once:
        _log.info('carrying %s to %s', options.spool, carrier.store.url)
        uploader.watch(max(options.poll, 0.05))
        return 0
    uploader.upload_all()
    return 1 if any(case.state in (State.RECORDED, State.FAILED)
                    for case in cases(options.spool)) else 0


def _lock(spool: Path) -> int:
    """The descriptor of the lock that lets one uploader into a spool. Raises OSError."""
    path = spool / LOCK
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return take_lock(path)
    except BlockingIOError as error:
        raise OSError(error.errno, 'another uploader carries its cases') from None


def _tell(listeners: Sequence[Callable[[Step], None]], step: Step) -> None:
    for listener in listeners:
        listener(step)


def _meters(carrier: Carrier, where: str, limit: float | None) -> Callable[[Step], None]:
    """Serve meters at PORT of loopback or HOST:PORT; what has to be told of each step."""
    try:
        from edge_case_recorder.uploading.metrics import LOOPBACK, Meters
    except ModuleNotFoundError as error:
        if error.name != 'prometheus_client':
            raise
        raise ImportError('the Python package prometheus_client is not installed') from None
    host, _, port = where.rpartition(':')
    if not port.isdecimal():
        raise ValueError('must be PORT or HOST:PORT')
    meters = Meters(carrier, limit)
    host = host.strip('[]') or LOOPBACK
    _log.info('metrics at http://%s:%d/metrics', host, meters.serve(host, int(port)))
    return meters.wrote


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog='uploader', description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--spool', type=Path, required=True, help='the recorder\'s spool_dir')
    parser.add_argument('--bucket', required=True, help='gs://bucket/prefix or file:///folder')
    parser.add_argument('--once', action='store_true', help='one round, then end')
    parser.add_argument('--poll', type=float, default=0.5, metavar='S', help='how often to look')
    parser.add_argument('--limit', type=float, metavar='BYTES_PER_S', help='cap of what is sent')
    parser.add_argument('--schedule', type=Path, metavar='FILE',
                        help='when which priority may go (YAML; see README)')
    parser.add_argument('--metrics', metavar='PORT',
                        help='serve Prometheus meters at this port of loopback, or at HOST:PORT')
    parser.add_argument('--key', metavar='FILE', action='append', default=[],
                        help='the site\'s key, for sealed cases; again for one of before')
    # ros2 launch may add --ros-args to a node's command line; this is no node.
    return parser.parse_args(_without_ros_arguments(arguments))


def _without_ros_arguments(arguments: Sequence[str] | None) -> list[str]:
    given = list(sys.argv[1:] if arguments is None else arguments)
    return given[:given.index('--ros-args')] if '--ros-args' in given else given


if __name__ == '__main__':
    sys.exit(main())
