"""Whether memory stays within the budgets when twice as much comes as they are for."""

import time
from pathlib import Path

from recorder_rig import Peer, Recorder
from recorder_rows import AFTER_S, BEFORE_S, budgets_mb, parameters

_NOMINAL, _LOAD = 1.0, 2.0
_PAUSE_S = 2.0


def bounded(folder: Path, seconds: float) -> dict[str, float | int]:
    """{idle_mb, peak_mb, budget_mb, ratio, seconds, cases}: ratio = (peak - idle) / budget.

    A case is recorded every AFTER_S + 2 s, and its folder removed: the disk is not what is tried.
    """
    with Recorder(folder / 'memory', parameters(_NOMINAL)) as recorder:
        idle_mb = recorder.usage.rss_mb
        recorder.usage.forget_peak()
        with Peer('publish', str(_LOAD), str(folder / 'memory.npz')) as robot:
            recorder.activate()
            began, cases = time.monotonic(), 0
            time.sleep(BEFORE_S)
            while time.monotonic() - began < seconds - AFTER_S:
                case_id = recorder.mark()
                recorder.wait_for(case_id)
                cases += 1
                for path in (recorder.spool / case_id).iterdir():
                    path.unlink()
                (recorder.spool / case_id).rmdir()
                time.sleep(min(_PAUSE_S, max(0.0, began + seconds - time.monotonic())))
            took = time.monotonic() - began
            peak_mb = recorder.usage.peak_mb()
            recorder.deactivate()
            robot.end()
    budget_mb = sum(budgets_mb(_NOMINAL).values())
    return {'idle_mb': round(idle_mb), 'peak_mb': round(peak_mb), 'budget_mb': round(budget_mb),
            'ratio': round((peak_mb - idle_mb) / budget_mb, 3), 'seconds': round(took),
            'cases': cases}
