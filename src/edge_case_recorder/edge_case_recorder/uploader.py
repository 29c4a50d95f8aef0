"""Carries finished cases from the spool to the bucket; a process of its own, without ROS.

All it knows is in the spool and in the bucket, so it may be killed anywhere and started again: a
name that is taken by equal content counts as sent. The manifest goes last and is the commit mark.

    uploader --spool DIR --bucket gs://name/prefix
"""

import argparse
import logging
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import tenacity

from edge_case_recorder import manifest
from edge_case_recorder.spool import SpooledCase, State, cases, mark
from edge_case_recorder.store import Store, StoreError, Trouble, open_store

_TYPES = {'.mcap': 'application/octet-stream', '.yaml': 'application/yaml',
          '.json': 'application/json'}
_PERSON_MUST_LOOK = (Trouble.CONFLICT, Trouble.DAMAGED)
_log = logging.getLogger('uploader')


@dataclass(frozen=True)
class Patience:
    """Backoff with full jitter: 2,000 robots that come back at once must not come in step.

    attempts: of one object before the case waits for a later round; seconds otherwise.
    """

    attempts: int = 4
    first_s: float = 0.5
    longest_s: float = 300.0


@dataclass
class Uploader:
    """One spool, one bucket. `stop` is waited on wherever there is something to wait for."""

    spool: Path
    store: Store
    patience: Patience = Patience()
    stop: threading.Event = field(default_factory=threading.Event)
    random_s: Callable[[float, float], float] = random.SystemRandom().uniform

    def upload_all(self) -> tuple[int, list[StoreError]]:
        """One round over what waits, most important first: how many were sent, what went wrong.

        A case that a person must look at is marked; any other trouble ends the round, since the
        next case would meet it too.
        """
        sent, troubles = 0, []
        for case, content in self._waiting():
            if self.stop.is_set():
                break
            began = time.monotonic()
            try:
                self._upload(case, content)
            except StoreError as error:
                troubles.append(error)
                if error.trouble in _PERSON_MUST_LOOK:
                    mark(case.folder, State.FAILED, {'trouble': error.trouble, 'why': str(error)})
                    _log.error('failed %s: %s', case.id, error)
                    continue
                _log.warning('waiting with %s: %s', case.id, error)
                break
            sent += 1
            _log.info('uploaded %s to %s/%s: %d files, %d bytes, %.1f s', case.id, self.store.url,
                      manifest.object_folder(content), len(content['files']) + 1,
                      sum(entry['bytes'] for entry in content['files']),
                      time.monotonic() - began)
        return sent, troubles

    def watch(self, poll_s: float) -> None:
        """Rounds until stop is set; longer and longer apart while the bucket cannot be had."""
        failures = 0
        while not self.stop.is_set():
            _, troubles = self.upload_all()
            waits = any(trouble.trouble not in _PERSON_MUST_LOOK for trouble in troubles)
            failures = failures + 1 if waits else 0
            ceiling_s = min(self.patience.longest_s, self.patience.first_s * 2**min(failures, 20))
            self.stop.wait(self.random_s(0.0, ceiling_s) if failures else poll_s)

    def _waiting(self) -> list[tuple[SpooledCase, manifest.Manifest]]:
        found = []
        for case in cases(self.spool):
            if case.state is not State.RECORDED:
                continue
            try:
                found.append((case, manifest.read(case.folder)))
            except manifest.ManifestError as error:
                mark(case.folder, State.FAILED, {'trouble': Trouble.DAMAGED, 'why': str(error)})
                _log.error('failed %s: %s', case.id, error)
        found.sort(key=lambda item: (-item[1]['trigger']['priority'], item[0].id))
        return found

    def _upload(self, case: SpooledCase, content: manifest.Manifest) -> None:
        folder = manifest.object_folder(content)
        for entry in content['files']:
            path = case.folder / entry['path']
            if not path.is_file() or manifest.describe(path) != entry:
                raise StoreError(Trouble.DAMAGED, f'{path} is not what its manifest says')
            self._put(f'{folder}/{entry["path"]}', path, entry['crc32c'])
        path = case.folder / manifest.MANIFEST
        self._put(f'{folder}/{manifest.MANIFEST}', path, manifest.describe(path)['crc32c'])
        mark(case.folder, State.UPLOADED, {'url': f'{self.store.url}/{folder}',
                                           'uploaded_ns': time.time_ns()})

    def _put(self, name: str, path: Path, crc32c: str) -> None:
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, StoreError)
                and error.trouble is Trouble.UNREACHABLE),
            wait=tenacity.wait_random_exponential(self.patience.first_s,
                                                  max=self.patience.longest_s),
            stop=tenacity.stop_after_attempt(self.patience.attempts)
            | tenacity.stop_when_event_set(self.stop),
            sleep=tenacity.sleep_using_event(self.stop), reraise=True)
        retrying(self._put_once, name, path, crc32c)

    def _put_once(self, name: str, path: Path, crc32c: str) -> None:
        # Asked first: a server learns of a taken name only after all the bytes.
        found = self.store.stat(name)
        if found is None:
            sent = self.store.put(name, path, _TYPES[path.suffix])
            if sent is not None and sent.crc32c != crc32c:
                raise StoreError(Trouble.DAMAGED, f'{name}: arrived with crc32c {sent.crc32c}, '
                                                  f'the file has {crc32c}')
            found = sent or self.store.stat(name)
        if found is None:
            raise StoreError(Trouble.UNREACHABLE, f'{name}: the name is taken and nothing is there')
        if found.crc32c != crc32c:
            raise StoreError(Trouble.CONFLICT, f'{name}: the bucket has another object under this '
                                               f'name, crc32c {found.crc32c}, not {crc32c}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Upload until told to end, or with --once until nothing waits; 1 when something still does."""
    parser = argparse.ArgumentParser(prog='uploader', description=(__doc__ or '').splitlines()[0])
    parser.add_argument('--spool', type=Path, required=True, help='the recorder\'s spool_dir')
    parser.add_argument('--bucket', required=True, help='gs://bucket/prefix or file:///folder')
    parser.add_argument('--once', action='store_true', help='one round, then end')
    parser.add_argument('--poll', type=float, default=0.5, metavar='S', help='how often to look')
    # ros2 launch may add --ros-args to a node's command line; this is no node.
    options = parser.parse_args(_without_ros_arguments(arguments))
    logging.basicConfig(level=logging.INFO, stream=sys.stdout,
                        format='%(asctime)s %(levelname)s %(message)s')
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    try:
        store = open_store(options.bucket)
    except (ValueError, StoreError) as error:
        print(f'uploader: {error}', file=sys.stderr)
        return 2
    uploader = Uploader(options.spool, store, stop=stop)
    if not options.once:
        _log.info('carrying %s to %s', options.spool, store.url)
        uploader.watch(max(options.poll, 0.05))
        return 0
    uploader.upload_all()
    return 1 if any(case.state in (State.RECORDED, State.FAILED)
                    for case in cases(options.spool)) else 0


def _without_ros_arguments(arguments: Sequence[str] | None) -> list[str]:
    given = list(sys.argv[1:] if arguments is None else arguments)
    return given[:given.index('--ros-args')] if '--ros-args' in given else given


if __name__ == '__main__':
    sys.exit(main())
