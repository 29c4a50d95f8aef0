"""What a spool holds, for people and meters: each case with its cause, size, age and progress.

Only looks, from any process, at any moment: what another process is writing or removing meanwhile
is told as far as it can be read, never an error. Texts are made printable: they come from names and
files, and end in terminals.
"""

import datetime
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_case_recorder.manifest import MANIFEST
from edge_case_recorder.sealing import sealed_sentence
from edge_case_recorder.spool import DRAFT, FAILED, UPLOADED, SpooledCase, State, cases
from edge_case_recorder.upload_status import read_status
from edge_case_recorder.uploading.trouble import SET_ASIDE

UPLOADING = 'uploading'
STATES = (State.PARTIAL, State.RECORDED, UPLOADING, State.UPLOADED, State.FAILED, State.BROKEN)
# A person must look at these: nothing changes them by itself.
STUCK = (State.FAILED, State.BROKEN)
_ID = re.compile(r'(\d{8}T\d{6}\.\d{3})Z-(.+)-([0-9a-f]{12})')
_MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class CaseView:
    """One case. stamp_s: UTC of its trigger, 0 when unknown; priority: None when unknown.

    state: one of STATES; bytes: of its files; sent_bytes: known to be in the bucket; why: what
    went wrong, empty when nothing did; url: of an uploaded case; lost: messages of its window that
    the ring had to drop; complete: False for a window that was cut or has losses; sealed: whether
    its bag is (sealing.py).
    """

    id: str
    state: str
    cause: str
    priority: int | None
    stamp_s: float
    bytes: int
    sent_bytes: int = 0
    why: str = ''
    url: str = ''
    lost: int = 0
    complete: bool = True
    sealed: bool = False

    def age_s(self, now_s: float) -> float:
        """Seconds since the trigger by the wall clock; never negative."""
        return max(0.0, now_s - self.stamp_s) if self.stamp_s else 0.0


@dataclass(frozen=True)
class SpoolView:
    """uploader: its last word (`uploading.status`); strangers: folders that are no cases."""

    root: Path
    cases: tuple[CaseView, ...]
    uploader: Mapping[str, Any]
    uploader_runs: bool
    strangers: tuple[str, ...] = ()

    def totals(self) -> dict[str, tuple[int, int]]:
        """Cases and bytes in each state; all of STATES are there."""
        found = {str(state): (0, 0) for state in STATES}
        for case in self.cases:
            count, size = found[case.state]
            found[case.state] = count + 1, size + case.bytes
        return found


class NoSpoolError(ValueError):
    """There is no spool to look at; one sentence that says where and why."""


class SpoolReader:
    """Looks at one spool again and again. The manifest of a finished case is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._finished: dict[str, CaseView] = {}

    def look(self) -> SpoolView:
        """What is there now; raises NoSpoolError when the folder cannot be a spool."""
        names = _names(self.root)
        uploader = read_status(self.root)
        found = cases(self.root)
        self._finished = {case.id: self._finished[case.id] for case in found
                          if case.id in self._finished}
        # What was renamed or removed since it was listed comes under its new name next time.
        views = [view for case in found for view in [self._view(case, uploader)]
                 if case.folder.exists()]
        known = {case.folder.name for case in found}
        strangers = tuple(printable(name) for name in names
                          if name not in known and not name.endswith('.evicted')
                          and (self.root / name).is_dir())
        if not found and names and not (self.root / '.lock').exists():
            raise NoSpoolError(f'{self.root} is no spool: it holds other things, and no recorder '
                               'has used it')
        return SpoolView(self.root, tuple(views), uploader, _runs(uploader.get('pid')), strangers)

    def _view(self, case: SpooledCase, uploader: Mapping[str, Any]) -> CaseView:
        if case.state is State.PARTIAL:
            return _described(case, DRAFT)
        if case.state is State.BROKEN:
            return replace(_described(case, DRAFT, problem=False),
                           why=_text(case.folder / 'why.txt') or 'why.txt says nothing')
        view = self._finished.get(case.id)
        if view is None:
            view = _described(case, MANIFEST)
            if not view.why:
                self._finished[case.id] = view
        view = replace(view, state=case.state)
        if case.state is State.UPLOADED:
            return replace(view, url=_field(case.folder / UPLOADED, 'url'), sent_bytes=view.bytes)
        if case.state is State.FAILED:
            return replace(view, why=_field(case.folder / FAILED, 'why')
                           or view.why or f'{FAILED} says nothing')
        return _on_its_way(view, uploader) if uploader.get('case_id') == case.id else view


def printable(text: object) -> str:
    """Line ends become spaces; no control character reaches a terminal."""
    return ''.join(each if each.isprintable() else ' ' if each.isspace() else '?'
                   for each in str(text)).strip()


def _on_its_way(view: CaseView, uploader: Mapping[str, Any]) -> CaseView:
    """A recorded case that the uploader named last; set aside is not on its way."""
    why = printable(uploader.get('why') or '')
    if uploader.get('trouble') in SET_ASIDE:
        return replace(view, why=why)
    sent = _whole(uploader.get('persisted_bytes'))
    return replace(view, state=UPLOADING, sent_bytes=min(max(sent or 0, 0), view.bytes), why=why)


def _described(case: SpooledCase, name: str, problem: bool = True) -> CaseView:
    """From the draft or the manifest, and as far as that cannot be read from the case's name."""
    match = _ID.fullmatch(case.id)
    view = CaseView(id=printable(case.id), state=case.state,
                    cause=printable(match[2]) if match else '', priority=None,
                    stamp_s=_stamp_s(match[1]) if match else 0.0, bytes=_size(case.folder),
                    sealed=bool(sealed_sentence(case.folder)))
    try:
        content = _json(case.folder / name)
        window = content.get('window', {})
        stamp_ns = content['trigger']['stamp_ns']
        if _whole(stamp_ns) is None or not 0 <= stamp_ns < 1 << 63:
            raise ValueError('trigger.stamp_ns is no time')
        return replace(view, cause=printable(content['cause']),
                       priority=_whole(content['trigger']['priority']),
                       stamp_s=stamp_ns / 1e9,
                       complete=window.get('complete', True) is True,
                       lost=sum(_whole(topic['lost_in_ring']) or 0
                                for topic in content.get('topics', [])))
    except FileNotFoundError:
        return replace(view, why=f'{name} is not there' if problem else '')
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return replace(view, why=f'{name} cannot be read: {printable(error)}' if problem else '')


def _json(path: Path) -> dict[str, Any]:
    with open(path, 'rb') as file:
        content = json.loads(file.read(_MAX_BYTES))
    if not isinstance(content, dict):
        raise ValueError('not an object')
    return content


def _field(path: Path, key: str) -> str:
    try:
        return printable(_json(path).get(key, ''))
    except (OSError, ValueError, RecursionError):
        return ''


def _text(path: Path) -> str:
    try:
        return printable(path.read_text('utf-8', 'replace')[:500])
    except OSError:
        return ''


def _stamp_s(name: str) -> float:
    try:
        stamp = datetime.datetime.strptime(name, '%Y%m%dT%H%M%S.%f')
    except ValueError:
        return 0.0
    return stamp.replace(tzinfo=datetime.UTC).timestamp()


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _size(folder: Path) -> int:
    """Bytes of a case's own files: those of the uploader begin with a dot."""
    return sum(_sizes(folder))


def _sizes(folder: Path) -> Iterator[int]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith('.') or entry.name in (UPLOADED, FAILED):
                    continue
                try:
                    if entry.is_file(follow_symlinks=False):
                        yield entry.stat().st_size
                except OSError:
                    continue
    except OSError:
        return


def _names(root: Path) -> list[str]:
    try:
        return sorted(path.name for path in root.iterdir() if not path.name.startswith('.'))
    except FileNotFoundError:
        raise NoSpoolError(f'{root} is not there') from None
    except NotADirectoryError:
        raise NoSpoolError(f'{root} is a file, not a spool') from None
    except OSError as error:
        raise NoSpoolError(f'{root} cannot be read: {error.strerror or error}') from None


def _runs(pid: Any) -> bool:
    """Whether the uploader that wrote the status lives; only within one process namespace."""
    if not _whole(pid) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
