"""What the operating system must give a reflex: a priority, memory that stays, no pauses.

Called before rclpy.init, so that the middleware's own threads inherit the priority. Nothing is
forked afterwards.
"""

import ctypes
import gc
import os

_MCL_CURRENT, _MCL_FUTURE = 1, 2


class RealtimeRefused(Exception):
    """The system gave less than the profile demands."""


def prepare(priority: int, cpu: int, *, required: bool) -> list[str]:
    """Ask for SCHED_FIFO, locked memory and a core; returns a sentence for each thing not had.

    Raises RealtimeRefused when `required` and something is missing.
    """
    lacking = []
    if cpu >= 0:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError as error:
            lacking.append(f'core {cpu} not given: {error.strerror}')
    if priority > 0:
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
        except OSError as error:
            lacking.append(f'SCHED_FIFO {priority} not given: {error.strerror}')
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mlockall(_MCL_CURRENT | _MCL_FUTURE) != 0:
            lacking.append(f'memory not locked: {os.strerror(ctypes.get_errno())}')
    else:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if required and lacking:
        raise RealtimeRefused('; '.join(lacking))
    return lacking


def freeze_memory() -> None:
    """After everything is built: no garbage collection pauses from here on."""
    gc.collect()
    gc.freeze()
    gc.disable()
