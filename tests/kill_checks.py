"""What a spool must hold after a kill, against what the killed processes had promised."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kill_child import digest
from mcap.reader import make_reader
from rosbags.rosbag2 import Reader

from edge_case_recorder import manifest
from edge_case_recorder.evictions import EvictionLog
from edge_case_recorder.spool import State, cases

_FINISHED = State.RECORDED, State.UPLOADED, State.FAILED


@dataclass
class Promises:
    """What all processes of a spool said.

    accepted: case -> when, monotonic seconds. flushed: case -> {messages: digest} of each flush.
    """

    accepted: dict[str, float] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    announced: set[str] = field(default_factory=set)
    flushed: dict[str, dict[int, int]] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)

    def hear(self, line: Mapping[str, Any]) -> None:
        match line['what']:
            case 'accepted':
                self.accepted.setdefault(line['case'], line['at_s'])
            case 'begun':
                self.begun.add(line['case'])
            case 'case':
                self.announced.add(line['case'])
            case 'flushed':
                self.flushed.setdefault(line['case'], {})[line['messages']] = line['digest']
            case 'said':
                self.said[' '.join(line['text'].split()[2:8])] += 1


@dataclass
class Found:
    """What is wrong, in sentences; each kind is a figure of the campaign."""

    unreadable: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    duplicates: list[str] = field(default_factory=list)
    checked: set[str] = field(default_factory=set)
    recovered: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)

    def look(self, root: Path, promises: Promises, finally_: bool = False) -> None:
        """Read what is new, and hold all against the promises.

        finally_: everything has been recovered, so nothing may be on its way any more.
        """
        found = cases(root)
        states: dict[str, list[State]] = {}
        for case in found:
            states.setdefault(case.id, []).append(case.state)
        evicted = {str(entry['id']) for entry in EvictionLog(root).read()} | {
            path.name.removesuffix('.evicted') for path in root.glob('*.evicted')}
        # A bare folder without a manifest is in no state at all, and must not be.
        for path in root.iterdir():
            if path.is_dir() and path.name not in {case.folder.name for case in found} and \
                    not path.name.endswith('.evicted') and not path.name.startswith('.'):
                self._add(self.unreadable, f'{path.name}: a folder that is no case')
        for case_id, seen in states.items():
            if len(seen) > 1:
                self._add(self.duplicates, f'{case_id}: {[str(each) for each in seen]}')
        for case in found:
            if case.state in _FINISHED:
                self._finished(case.folder, promises)
            elif case.state is State.BROKEN:
                self._broken(case.folder, case.id, promises)
        for case_id in promises.announced - evicted:
            if not any(state in _FINISHED for state in states.get(case_id, [])):
                self._add(self.lost, f'{case_id} was announced, and is not there')
        for case_id in promises.begun - evicted - states.keys():
            self._add(self.lost, f'{case_id} was begun, and nothing of it is there')
        if finally_:
            for case in found:
                if case.state is State.PARTIAL:
                    self._add(self.lost, f'{case.id} was never recovered')

    def _finished(self, folder: Path, promises: Promises) -> None:
        try:
            content = manifest.read(folder)
            for entry in content['files']:
                if manifest.describe(folder / entry['path']) != entry:
                    raise ValueError(f'{entry["path"]} differs from the manifest')
            if folder.name not in self.checked:
                check_bag(folder, content, promises.flushed.get(folder.name, {}))
        except ShorterThanFlushed as error:
            self._add(self.lost, f'{folder.name}: {error}')
        except Exception as error:   # of any reader: each means that the case cannot be read
            self._add(self.unreadable, f'{folder.name}: {error!r}')
        else:
            self.checked.add(folder.name)
            if content['recovered']:
                self.recovered.add(folder.name)

    def _broken(self, folder: Path, case_id: str, promises: Promises) -> None:
        self.broken.add(case_id)
        why = folder / 'why.txt'
        if not why.is_file() or not why.read_text().strip():
            self._add(self.lost, f'{case_id} is broken, and does not say why')
        if promises.flushed.get(case_id):
            self._add(self.lost, f'{case_id} is broken ({why.read_text().strip()}), and '
                                 f'{max(promises.flushed[case_id])} messages had been flushed')

    @staticmethod
    def _add(to: list[str], sentence: str) -> None:
        if sentence not in to:
            to.append(sentence)


class ShorterThanFlushed(Exception):
    """A finished bag lacks messages that had been flushed, or has others in their place."""


def check_bag(folder: Path, content: Mapping[str, Any], flushed: Mapping[int, int]) -> None:
    """Two readers that nobody here wrote, the manifest, and what was flushed must agree."""
    [path] = folder.glob('*.mcap')
    counts: Counter[str] = Counter()
    running, wanted, number = 0, dict(flushed), 0
    listed = []
    with open(path, 'rb') as file:
        for _, channel, message in make_reader(file, validate_crcs=True).iter_messages(
                log_time_order=False):
            number += 1
            counts[channel.topic] += 1
            running = digest(running, channel.topic, message.log_time, message.data)
            listed.append((channel.topic, message.log_time, message.data))
            if wanted.pop(number, running) != running:
                raise ShorterThanFlushed(f'the first {number} messages are not the flushed ones')
    if wanted:
        raise ShorterThanFlushed(f'{max(wanted)} messages were flushed, {number} are there')
    if number != content['messages']:
        raise ValueError(f'{number} messages, {content["messages"]} in the manifest')
    if counts != Counter({each['name']: each['messages'] for each in content['topics']
                          if each['messages']}):
        raise ValueError('counts of topics differ from the manifest')
    with Reader(folder) as reader:
        again = [(connection.topic, stamp, bytes(data))
                 for connection, stamp, data in reader.messages()]
    if sorted(again) != sorted(listed):
        raise ValueError('rosbags reads other messages than mcap')
