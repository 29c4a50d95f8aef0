"""What the operating system must give a reflex: a priority, memory that stays, no pauses.

Asked for before rclpy makes its first thread, so that the middleware's own threads inherit
priority and core. Nothing is forked afterwards.
"""

import ctypes
import gc
import os

_MCL_CURRENT, _MCL_FUTURE = 1, 2


def prepare(priority: int, cpu: int) -> list[str]:
    """Ask for SCHED_FIFO, locked memory and a core; returns a sentence for each thing not had.

    A priority of 0 asks for none, and is then not missed.
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
    return lacking


def freeze_memory() -> None:
    """After everything is built: no garbage collection pauses from here on."""
    gc.collect()
    gc.freeze()
    gc.disable()
