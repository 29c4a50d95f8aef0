"""The folder between the recorder and the bucket. A case's state can be read from its name.

    <case id>.partial/     being written: draft.json and a growing MCAP
    <case id>/             recorded: manifest.json, metadata.yaml, <case id>_0.mcap
                           (with a site's key `<case id>_0.mcap.sealed`; see sealing.py)
      + uploaded.json      in the bucket, checksums equal
      + failed.json        cannot be uploaded as it is; says why; stays until a person looks
    <case id>.broken/      cut short by a crash before anything was readable; says why
    <case id>.evicted/     being removed, as room was needed; no case any more
    evictions.jsonl        what was removed, and why (evictions.py)

The recorder alone makes and removes folders (one recorder a spool: it holds `.lock`); the uploader
only adds its two marks. What is recorded and not uploaded is never removed, unless the recorder was
told to (evict_unsent).
"""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from edge_case_recorder import manifest
from edge_case_recorder.durable import fsync_folder, rename_durably, take_lock, write_durably
from edge_case_recorder.evictions import Candidate, Eviction, EvictionLog, order, size_of
from edge_case_recorder.recovery import rebuild
from edge_case_recorder.sealing import (
    SUFFIX,
    Key,
    SealError,
    check_key,
    lying,
    sealed_bytes,
)

DRAFT = 'draft.json'
UPLOADED = 'uploaded.json'
FAILED = 'failed.json'
_HIGHEST_PRIORITY = 100
_PARTIAL, _BROKEN, _EVICTED, _REBUILT = '.partial', '.broken', '.evicted', 'rebuilt'


class SpoolError(RuntimeError):
    """The spool cannot be used; the message names the folder and what to do."""


class State(StrEnum):
    PARTIAL = 'partial'
    RECORDED = 'recorded'
    UPLOADED = 'uploaded'
    FAILED = 'failed'
    BROKEN = 'broken'


_RECORDED = (State.RECORDED, State.UPLOADED, State.FAILED)


@dataclass(frozen=True)
class SpooledCase:
    id: str
    state: State
    folder: Path


def cases(root: Path) -> list[SpooledCase]:
    """Every case in a spool, oldest first. Only looks: any process may ask."""
    return sorted(_cases(root), key=lambda case: case.id)


def mark(folder: Path, state: State, facts: Mapping[str, Any]) -> None:
    """The uploader's word on a recorded case: UPLOADED or FAILED, durable when this returns."""
    name = {State.UPLOADED: UPLOADED, State.FAILED: FAILED}[state]
    write_durably(folder / name, (json.dumps(dict(facts), indent=2) + '\n').encode())


class Spool:
    """One recorder's spool. Not thread-safe: everything but `root` belongs to one thread.

    min_free_bytes: the recorder never writes below this much free space on the disk.
    evict_unsent: whether cases that are not uploaded may be removed for newer ones.
    key: new cases are sealed with it, and those that were sealed before are read with it.
    """

    def __init__(self, root: Path, min_free_bytes: int,
                 log: Callable[[str], None] = lambda _: None,
                 free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
                 evict_unsent: bool = False, key: Key | None = None) -> None:
        self.root = root
        self.key = key
        self._min_free_bytes = min_free_bytes
        self._log = log
        self._free_bytes = free_bytes
        self._evict_unsent = evict_unsent
        self._evictions = EvictionLog(root)
        self._lock = -1
        self.evicted = 0    # cases, since the start

    @property
    def keys(self) -> tuple[Key, ...]:
        return (self.key,) if self.key else ()

    def open(self) -> None:
        """Make the folder and take it; raises SpoolError when another recorder has it."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            self._lock = take_lock(self.root / '.lock')
        except BlockingIOError:
            raise SpoolError(f'{self.root}: another recorder writes there; give each its own '
                             'spool_dir') from None
        except OSError as error:
            raise SpoolError(f'{self.root}: {error.strerror or error}') from None

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def begin(self, draft: manifest.Manifest) -> Path:
        """A folder for a case that begins; its draft is on the disk when this returns."""
        folder = self.root / (draft['case_id'] + _PARTIAL)
        if (self.root / draft['case_id']).exists():
            raise SpoolError(f'{self.root}: case {draft["case_id"]} is there already')
        folder.mkdir()
        self.update(folder, draft)
        fsync_folder(self.root)
        return folder

    def update(self, folder: Path, draft: manifest.Manifest) -> None:
        write_durably(folder / DRAFT, json.dumps(draft).encode())

    def commit(self, folder: Path, content: manifest.Manifest) -> Path:
        """The bag is whole: write the manifest, then give the folder its final name."""
        manifest.write(folder, content)
        return self._publish(folder)

    def free_bytes(self) -> int:
        """What may still be written before the floor is reached; negative below it."""
        return self._free_bytes(self.root) - self._min_free_bytes

    def make_room(self, wanted_bytes: int) -> bool:
        """Whether so much may be written; cases make way for it in the order of `evictions`."""
        if self.key:
            wanted_bytes = sealed_bytes(wanted_bytes)
        if self.free_bytes() >= wanted_bytes:
            return True
        known = {case.id: (case, _priority(case.folder) if self._evict_unsent else 0)
                 for case in cases(self.root) if case.state in _RECORDED}
        for case_id in order((Candidate(case_id, priority, case.state is State.UPLOADED)
                              for case_id, (case, priority) in known.items()),
                             self._evict_unsent):
            if self.free_bytes() >= wanted_bytes:
                return True
            self._evict(known[case_id][0])
        return self.free_bytes() >= wanted_bytes

    def recover(self) -> Iterator[manifest.Manifest]:
        """Finish what a crash left; yields the manifest of each case that is recorded by it."""
        for leftover in sorted(self.root.glob('*' + _EVICTED)):
            name = leftover.name.removesuffix(_EVICTED)
            try:
                self._remove(leftover, State.UPLOADED if (leftover / UPLOADED).exists()
                             else State.RECORDED, is_logged=self._evictions.has(name))
            except OSError as error:
                self._log(f'{leftover.name} cannot be removed now ({error})')
        for folder in sorted(self.root.glob('*' + _PARTIAL)):
            try:
                content = self._recover(folder)
            except Exception as error:   # no folder may keep the next one from being recovered
                # Half a bag would only take the room that is missing.
                shutil.rmtree(folder / _REBUILT, ignore_errors=True)
                self._log(f'{folder.name} cannot be recovered now ({error}); it stays for the '
                          'next start')
                continue
            if content is not None:
                yield content

    def give_up(self, folder: Path, why: str) -> None:
        """Label what holds nothing readable; it is kept for a person to look at."""
        write_durably(folder / 'why.txt', (why + '\n').encode())
        rename_durably(folder, folder.with_suffix(_BROKEN))
        self._log(f'{folder.stem} is broken: {why}')

    def _recover(self, folder: Path) -> manifest.Manifest | None:
        name = folder.name.removesuffix(_PARTIAL)
        if any(not (path.is_file() or path.is_dir()) for path in folder.iterdir()):
            raise OSError('it holds what is no file')   # reading a pipe would never end
        damaged = lying(folder, f'{name}_0.mcap')
        if damaged.suffix == SUFFIX:
            # Before anything is judged: without its key nobody knows what is in it.
            check_key(damaged, self.keys)
        if (folder / manifest.MANIFEST).exists():
            try:
                content = manifest.read(folder)
                if all(manifest.describe(lying(folder, entry['path']), self.keys) == entry
                       for entry in content['files']):
                    self._publish(folder)
                    return content
            except (manifest.ManifestError, FileNotFoundError, SealError):
                pass   # the crash came before the manifest was true: rebuild it
        shutil.rmtree(folder / _REBUILT, ignore_errors=True)
        try:
            draft = json.loads((folder / DRAFT).read_bytes())
            told = manifest.custom_data(draft)
        except (OSError, ValueError, RecursionError) as error:
            self.give_up(folder, f'its draft cannot be read: {error}')
            return None
        except (LookupError, TypeError, AttributeError) as error:
            self.give_up(folder, f'its draft is not a draft: {error!r}')
            return None
        if not damaged.exists():
            self.give_up(folder, 'the crash came before the first message was written')
            return None
        # Compressed chunks come back about as large as they were; a floor is a floor.
        if not self.make_room(damaged.stat().st_size):
            raise OSError('there is too little room to rebuild it')
        (folder / _REBUILT).mkdir()
        summary = rebuild(damaged, folder / _REBUILT, name, key=self.key, custom_data=told)
        if not summary.messages:
            self.give_up(folder, 'the crash came before the first message was flushed')
            return None
        for path in sorted((folder / _REBUILT).iterdir()):
            rename_durably(path, folder / path.name)
        (folder / _REBUILT).rmdir()
        try:
            content = manifest.complete(draft, folder, summary, lost={}, truncated_by='crash',
                                        recovered=True, keys=self.keys)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.give_up(folder, f'its draft is not a draft: {error}')
            return None
        self.commit(folder, content)
        self._log(f'recovered {name}: {summary.messages} messages were on the disk')
        return content

    def _publish(self, folder: Path) -> Path:
        (folder / DRAFT).unlink(missing_ok=True)
        shutil.rmtree(folder / _REBUILT, ignore_errors=True)
        fsync_folder(folder)
        final = folder.with_name(folder.name.removesuffix(_PARTIAL))
        rename_durably(folder, final)
        return final

    def _evict(self, case: SpooledCase) -> None:
        doomed = case.folder.with_name(case.folder.name + _EVICTED)
        rename_durably(case.folder, doomed)
        self.evicted += 1
        self._remove(doomed, case.state, is_logged=False)

    def _remove(self, doomed: Path, state: State, is_logged: bool) -> None:
        """Say durably what goes, then let it go; a crash between leaves a leftover for recover."""
        name = doomed.name.removesuffix(_EVICTED)
        if is_logged:
            shutil.rmtree(doomed, ignore_errors=True)
            return
        why = f'{state}, and the disk is near its floor'
        self._log(f'removed {name} from the spool: {why}')
        try:
            eviction = Eviction(time.time_ns(), name, _priority(doomed), str(state),
                                size_of(doomed), why)
            self._evictions.write(eviction)
        except OSError as error:
            self._log(f'the removal of {name} is not in {self.root}/evictions.jsonl: {error}')
        shutil.rmtree(doomed, ignore_errors=True)


def _priority(folder: Path) -> int:
    """Of a recorded case; the highest where its manifest does not say."""
    try:
        return int(manifest.read(folder)['trigger']['priority'])
    except manifest.ManifestError:
        return _HIGHEST_PRIORITY


def _cases(root: Path) -> Iterator[SpooledCase]:
    try:
        folders = [path for path in root.iterdir() if path.is_dir()]
    except FileNotFoundError:
        return
    for folder in folders:
        if folder.name.endswith(_EVICTED):
            continue
        if folder.name.endswith(_PARTIAL):
            yield SpooledCase(folder.name.removesuffix(_PARTIAL), State.PARTIAL, folder)
        elif folder.name.endswith(_BROKEN):
            yield SpooledCase(folder.name.removesuffix(_BROKEN), State.BROKEN, folder)
        elif (folder / UPLOADED).exists():
            yield SpooledCase(folder.name, State.UPLOADED, folder)
        elif (folder / FAILED).exists():
            yield SpooledCase(folder.name, State.FAILED, folder)
        elif (folder / manifest.MANIFEST).exists():
            yield SpooledCase(folder.name, State.RECORDED, folder)
