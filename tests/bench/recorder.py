"""./dev bench recorder: what recording costs beside a subscriber that only counts.

recorder_rows: one row for each load, the two subscribers in turn beside the same robot. `cpu_share`
is the recorder's with a case open, `waiting_cpu_share` without; `sent` and `lost` are the messages
that were sent in the windows of the cases, and how many of them are in no bag; `rss_mb` is the most
that was resident, `idle_rss_mb` before it listened, `budget_mb` the sum of its topics' budgets.
`finish_s`: the longest from a window's end to the word of its finished case. `window_gap_ms`: two
triggers 1 s apart; by how much the worst gap at an end of a window exceeds its topic's period, so
0 or less when both are whole. `memory`: budgets for 28 MB/s under twice the load; an hour with
--long, and 12 s without. recorder_uploads: `cap_error_ratio`, `kills` (200 of each with --long).

SPINAL_DDS=none takes the middleware as it is; else config/dds/large_messages.xml is used.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import recorder_uploads
from figures import ROOT
from recorder_memory import bounded
from recorder_rows import Plan, measure

DOMAIN = '126'
LOADS = (1.0, 3.0)   # of 28 MB/s
_LONG = Plan(turns=6, floor_s=20.0, waiting_s=10.0, marks=5)
_KILLS, _KILLS_LONG = 3, 200
_MEMORY_S, _MEMORY_LONG_S = 12.0, 3600.0
_PROFILE = ROOT / 'config/dds/large_messages.xml'


def run(*, long: bool) -> dict[str, Any]:
    """One key for each figure, null where its part could not run; `missing` says why."""
    os.environ['ROS_DOMAIN_ID'] = DOMAIN
    if os.environ.get('SPINAL_DDS') != 'none':
        os.environ.setdefault('CYCLONEDDS_URI', _PROFILE.as_uri())
    figures: dict[str, Any] = {'dds': os.environ.get('CYCLONEDDS_URI', ''), 'took_s': {},
                               'missing': {}}
    with TemporaryDirectory() as made:
        folder = Path(made)
        _part('rows', ('rows', 'finish_s', 'window_gap_ms'), lambda: _rows(folder, long), figures)
        seconds, count = (_MEMORY_LONG_S, _KILLS_LONG) if long else (_MEMORY_S, _KILLS)
        parts: tuple[tuple[str, str, Callable[[], Any]], ...] = (
            ('cap', 'cap_error_ratio', lambda: recorder_uploads.cap_error_ratio(folder)),
            ('kills', 'kills', lambda: recorder_uploads.kills(folder, count, count)),
            ('memory', 'memory', lambda: bounded(folder, seconds)))
        threads = [threading.Thread(target=_part, args=(
            name, (key,), lambda key=key, part=part: {key: part()}, figures))
            for name, key, part in parts]
        # None of these is a share of a core: in the short form they run side by side.
        for thread in threads:
            thread.start()
            if long:
                thread.join()
        for thread in threads:
            thread.join()
    return figures


def _rows(folder: Path, long: bool) -> dict[str, Any]:
    rows = [measure(scale, folder, _LONG if long else Plan(), pair=scale == 1.0)
            for scale in LOADS]
    return {'rows': [row.entry() for row in rows],
            'finish_s': round(max(each for row in rows for each in row.finish_s), 2),
            'window_gap_ms': round(max(case.gap_ms for row in rows for case in row.pair), 1)}


def _part(name: str, keys: tuple[str, ...], part: Callable[[], dict[str, Any]],
          figures: dict[str, Any]) -> None:
    print(f'   {name}', file=sys.stderr, flush=True)
    began = time.monotonic()
    figures.update(dict.fromkeys(keys))
    try:
        figures.update(part())
    except Exception as error:  # one part must not take the others' figures with it
        figures['missing'][name] = f'{type(error).__name__}: {error}'
        print(f'   {name}: {figures["missing"][name]}', file=sys.stderr, flush=True)
    figures['took_s'][name] = round(time.monotonic() - began, 1)
