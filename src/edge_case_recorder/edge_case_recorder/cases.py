"""Lists what a spool holds: recorded, on its way, sent, failed; with progress bars.

    cases [--spool DIR] [--watch | --json]
    cases unseal CASE --key FILE --output DIR      # a sealed case as a plain bag (unsealing.py)

Exit status: 0 all is well; 1 a case failed or is broken, and a person must look; 2 no spool.
"""

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.filesize import decimal
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from edge_case_recorder import unsealing
from edge_case_recorder.spool import State
from edge_case_recorder.spool_view import (
    STATES,
    STUCK,
    UPLOADING,
    CaseView,
    NoSpoolError,
    SpoolReader,
    SpoolView,
    printable,
)

_COLOURS = {State.PARTIAL: 'yellow', State.RECORDED: 'cyan', UPLOADING: 'bold blue',
            State.UPLOADED: 'green', State.FAILED: 'bold red', State.BROKEN: 'bold red'}
_TELLING = {State.PARTIAL: 'open', State.RECORDED: 'waits', State.UPLOADED: 'sent'}
# Of the whole height of a terminal: what is not a case's line.
_LINES_AROUND = 9
_MOST_REASONS = 5
_WIDE, _NARROW, _BAR = 100, 76, 24
_REDRAW_S = 0.5


def main(arguments: Sequence[str] | None = None) -> int:
    """List the cases of one spool; see the module for the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ['unseal']:
        return unsealing.main(given[1:])
    options = _options(given)
    console = Console()
    try:
        reader = SpoolReader(options.spool or newest_demo_spool(
            Path(os.environ.get('SPINAL_ROOT', '.')) / 'out' / 'demo'))
        view = reader.look()
        if options.watch:
            if not console.is_terminal:
                raise NoSpoolError('--watch needs a terminal; --json is for programs')
            view = _watch(reader, console)
    except NoSpoolError as error:
        print(f'cases: {error}', file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(as_mapping(view, time.time()), indent=2))
    elif not options.watch:
        console.print(drawn(view, time.time(), console.width))
    return 1 if any(case.state in STUCK for case in view.cases) else 0


def newest_demo_spool(demos: Path) -> Path:
    """The spool of the newest demo run; raises NoSpoolError when no demo was run yet."""
    found = [path for path in demos.glob('*/spool') if path.is_dir()]
    if not found:
        raise NoSpoolError(f'{demos} has no spool yet: run ./dev demo, or say --spool DIR')
    return max(found, key=lambda path: path.parent.name)


def as_mapping(view: SpoolView, now_s: float) -> dict[str, Any]:
    """The whole view for programs. Times in seconds, sizes in bytes."""
    return {
        'spool': str(view.root), 'strangers': list(view.strangers),
        'uploader': dict(view.uploader, runs=view.uploader_runs),
        'totals': {state: {'cases': count, 'bytes': size}
                   for state, (count, size) in view.totals().items()},
        'cases': [dict(asdict(case), age_s=round(case.age_s(now_s), 3)) for case in view.cases],
    }


def drawn(view: SpoolView, now_s: float, width: int, most: int | None = None) -> RenderableType:
    """The view as one picture. most: lines of cases that there is room for; None for all."""
    if not view.cases:
        return Text(f'{view.root} holds no case yet.{_strangers(view)}')
    told = [case for case in view.cases if case.why]
    if most is not None:
        told = told[:_MOST_REASONS]
        most = max(3, most - 2 * len(told))
    shown = _most_interesting(view.cases, most)
    # Times of another day need their date; all others are easier to read without.
    one_day = {_local(case).date() for case in shown} == {datetime.fromtimestamp(now_s).date()}
    clock = '%H:%M:%S' if one_day else '%m-%d %H:%M'
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True, header_style='dim')
    names = ['state', 'time', 'age', 'cause', 'prio', 'size']
    if width < _NARROW:
        names = ['state', 'time', 'cause']
    for name in names:
        table.add_column(name, no_wrap=True,
                         justify='right' if name in ('age', 'prio', 'size') else 'left')
    if width >= _WIDE:
        table.add_column('id ends in', no_wrap=True)
    table.add_column('', ratio=1)
    for case in shown:
        stamp, age = '?', '?'
        if case.stamp_s:
            stamp, age = _local(case).strftime(clock), _age(case.age_s(now_s))
        priority = '?' if case.priority is None else str(case.priority)
        told_of: dict[str, RenderableType] = {
            'state': Text(case.state, _COLOURS[case.state]), 'time': stamp, 'age': age,
            'cause': Text(case.cause or '?'), 'prio': priority, 'size': _size(case.bytes)}
        row: list[RenderableType] = [told_of[name] for name in names]
        if width >= _WIDE:
            row.append(Text(case.id.rpartition('-')[2], 'dim'))
        table.add_row(*row, _progress(case, width >= _WIDE))
    hidden = len(view.cases) - len(shown)
    after: list[RenderableType] = []
    if hidden:
        after.append(Text(f'.. and {hidden} more that do not fit', 'dim'))
    for case in told:
        after.append(Text.assemble('\n' if case is told[0] else '',
                                   (case.state, _COLOURS[case.state]),
                                   f' {case.id}: {_short(case, view.root)}'))
    return Group(*_head(view), Text(), table, *after)


def _watch(reader: SpoolReader, console: Console) -> SpoolView:
    """Redraw until told to end; the last view."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    view = reader.look()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        while not stop.wait(0.0):
            view = reader.look()
            room = max(3, console.height - _LINES_AROUND)
            live.update(drawn(view, time.time(), console.width, room), refresh=True)
            stop.wait(_REDRAW_S)
    return view


def _head(view: SpoolView) -> list[RenderableType]:
    """Where, how much of it is in the bucket, and what the uploader says."""
    totals = view.totals()
    whole = sum(totals[state][1] for state in (State.RECORDED, UPLOADING, State.UPLOADED))
    sent = sum(case.sent_bytes for case in view.cases)
    parts = [f'{count} {state} ({_size(size)})'
             for state in STATES for count, size in [totals[state]] if count]
    count = len(view.cases)
    head: list[RenderableType] = [
        Text(f'{view.root}: {count} case{"s" * (count != 1)}', 'bold'), Text(', '.join(parts))]
    if whole:
        head.append(_bar(sent, whole, f'{_size(sent)} of {_size(whole)} in the bucket'))
    head.append(_uploader(view))
    if view.strangers:
        head.append(Text(_strangers(view).strip(), 'yellow'))
    return head


def _uploader(view: SpoolView) -> Text:
    told = view.uploader
    if not told:
        return Text('no uploader has looked at this spool', 'yellow')
    bucket = printable(told.get('bucket', '?'))
    waits = any(case.state in (State.RECORDED, UPLOADING) for case in view.cases)
    if not view.uploader_runs:
        return Text(f'the uploader to {bucket} is not running', 'yellow' if waits else 'dim')
    if told.get('why'):
        wait_s = told.get('wait_s')
        pause = f' (waits up to {wait_s} s)' if wait_s else ''
        return Text(f'uploader to {bucket}: {printable(told["why"])}{pause}', 'red')
    told_more = ': what waits may not go at this hour' if told.get('did') == 'closed' else ''
    return Text(f'uploader to {bucket} is running{told_more}', 'dim')


def _progress(case: CaseView, wide: bool) -> RenderableType:
    if case.state == UPLOADING:
        return _bar(case.sent_bytes, case.bytes, wide=wide)
    if case.why:
        return Text('see below', 'red')
    told = _TELLING[State(case.state)] + (', sealed' if case.sealed else '')
    if case.complete:
        return Text(told, 'dim')
    lost = f'{case.lost} lost' if case.lost else 'cut'
    return Text(f'{told}, {lost}', 'yellow')


def _short(case: CaseView, spool: Path) -> str:
    """Why, without the path of the case: its name stands there already."""
    return case.why.replace(f'{spool.resolve() / case.id}/', '').replace(f'{spool / case.id}/', '')


def _bar(sent: int, whole: int, text: str = '', wide: bool = True) -> Table:
    """One line: a bar, the share, a text. It takes what there is where that is not wide."""
    share = min(1.0, sent / whole) if whole else 0.0
    bar = ProgressBar(total=1.0, completed=share, width=_BAR if text or wide else None,
                      style='grey42', complete_style='blue', finished_style='green')
    line = Table.grid(padding=(0, 1), expand=bool(text) or not wide)
    line.add_column(ratio=None if wide else 1)
    line.add_column(justify='right', width=5, no_wrap=True)
    if text:
        line.add_column(ratio=1, no_wrap=True)
    line.add_row(bar, f'{int(share * 100)} %', *([text] if text else []))
    return line


def _most_interesting(cases: Sequence[CaseView], most: int | None) -> list[CaseView]:
    """As many as there is room for, in order of time; what is sent is left out first."""
    if most is None or len(cases) <= most:
        return list(cases)
    rank = {UPLOADING: 0, State.FAILED: 1, State.BROKEN: 1, State.PARTIAL: 2, State.RECORDED: 3,
            State.UPLOADED: 4}
    newest_first = sorted(cases, key=lambda case: case.id, reverse=True)
    kept = sorted(newest_first, key=lambda case: rank[case.state])[:most]
    return sorted(kept, key=lambda case: case.id)


def _strangers(view: SpoolView) -> str:
    names = view.strangers
    if not names:
        return ''
    more = f' and {len(names) - 1} more' if len(names) > 1 else ''
    return f' {names[0]}{more}: not a case.'


def _local(case: CaseView) -> datetime:
    return datetime.fromtimestamp(case.stamp_s)


def _size(count: int) -> str:
    return decimal(count).replace(' bytes', ' B').replace(' byte', ' B')


def _age(seconds: float) -> str:
    """In the largest unit of which there are two."""
    for unit, name in ((86_400, 'd'), (3_600, 'h'), (60, 'min')):
        if seconds >= 2 * unit:
            return f'{int(seconds / unit)} {name}'
    return f'{int(seconds)} s'


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='cases', description=(__doc__ or '').splitlines()[0],
        epilog='cases unseal CASE --key FILE --output DIR: a sealed case as a plain bag')
    parser.add_argument('--spool', type=Path, help='the recorder\'s spool_dir; by default the '
                                                   'spool of the newest demo')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--watch', action='store_true', help='redraw until Ctrl-C')
    form.add_argument('--json', action='store_true', help='for programs')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
