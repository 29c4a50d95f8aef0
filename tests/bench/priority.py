"""A priority for a part of a bench."""

import contextlib
import os
from collections.abc import Iterator


@contextlib.contextmanager
def at_priority(priority: int) -> Iterator[None]:
    """SCHED_FIFO for this thread while the block runs, where that is allowed.

    Threads and processes that are started inside keep it.
    """
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    try:
        yield
    finally:
        os.sched_setscheduler(0, *before)
