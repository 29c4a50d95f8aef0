"""Files that are whole or absent after a power cut, and who may write them."""

import fcntl
import os
from pathlib import Path


def fsync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# A folder is synchronised like a file: its entries are its content.
fsync_folder = fsync_file


def write_durably(path: Path, data: bytes) -> None:
    """The file has all of data, or is as it was before."""
    beside = path.with_name(f'.{path.name}.writing')
    with open(beside, 'wb') as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    fsync_folder(path.parent)


def rename_durably(old: Path, new: Path) -> None:
    """Rename within one folder, and do not return before the disk knows."""
    os.rename(old, new)
    fsync_folder(new.parent)


def take_lock(path: Path) -> int:
    """The descriptor of a lock that is held until it is closed, or this process ends anyhow.

    Raises BlockingIOError while another process holds it, OSError.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor
