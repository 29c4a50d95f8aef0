"""The rest of ./dev bench recorder: the uploader's cap, and kills of the uploader and the recorder.

The real uploader against the strict bucket (the campaign that the package's tests run), and the
recording campaign of tests/kill_recording.py.
"""

import itertools
import sys
from pathlib import Path
from random import Random
from typing import Any

from figures import ROOT

from edge_case_recorder.strict_bucket.campaign import UploadKills, cap_ratio, kill_uploads
from edge_case_recorder.strict_bucket.server import StrictBucket

sys.path[:0] = [str(ROOT / 'src/edge_case_recorder/test'), str(ROOT / 'tests')]

from making import NOON_NS, S, a_case, an_open_spool  # noqa: E402

CAP_BYTES_S = 2e6
_CAP_S = 11.5


def cap_error_ratio(folder: Path) -> float:
    """How far the busiest ten seconds were from the cap, as a share of it."""
    spool = an_open_spool(folder / 'cap')
    with StrictBucket() as strict:
        a_case(spool, messages=100, size=int(1.3 * _CAP_S * CAP_BYTES_S / 100))
        ratio = cap_ratio(strict, spool.root, CAP_BYTES_S, seconds=_CAP_S)
    spool.close()
    return round(abs(ratio - 1.0), 4)


def uploads(folder: Path, kills: int, seed: int) -> UploadKills:
    spool, stamps = an_open_spool(folder / 'kills'), itertools.count(NOON_NS, S)

    def new_case(chance: Random) -> Path:
        return a_case(spool, stamp_ns=next(stamps), messages=100, priority=chance.choice((10, 90)),
                      size=chance.choice((100, 10_000, 60_000, 150_000)))
    with StrictBucket() as strict:
        found = kill_uploads(strict, spool.root, new_case, kills, seed)
    spool.close()
    return found


def kills(folder: Path, uploading: int, recording: int, seed: int = 17) -> dict[str, Any]:
    """So many kills of each; their sum, and each by itself."""
    from kill_recording import kill_at_random
    (folder / 'recording').mkdir()
    recorded = kill_at_random(folder / 'recording', recording, seed)
    sent = uploads(folder, uploading, seed)
    return {
        'tried': recorded['tried'] + sent.tried, 'unreadable': recorded['unreadable'],
        'lost_cases': recorded['lost_cases'] + sent.lost,
        'duplicates': recorded['duplicates'] + sent.duplicates,
        'recovery_s_max': round(max(recorded['recovery_s_max'], sent.recovery_s_max), 2),
        'recording': recorded, 'uploading': vars(sent)}
