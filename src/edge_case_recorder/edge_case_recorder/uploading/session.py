"""The session of an upload on the disk, so that another process goes on where this one was killed.

Only the session is kept, not how far it came: the server alone knows that. A session's URL is a
secret (whoever has it may write the object without credentials): its file is for its owner only,
and it is never logged.
"""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from edge_case_recorder.durable import fsync_folder
from edge_case_recorder.uploading.trouble import Item

SCHEMA_VERSION = 1
_OWNER_ONLY = 0o600
_MAX_BYTES = 100_000


@dataclass(frozen=True)
class Session:
    """created_ns is UTC, for people; nothing is decided by it (clocks change)."""

    store_url: str
    object: str
    bytes: int
    crc32c: str
    created_ns: int
    session_url: str = field(repr=False)


def session_path(item: Item) -> Path:
    """Beside the file, so it goes when the case goes."""
    return item.path.with_name(f'.{item.path.name}.session')


def save(path: Path, session: Session) -> None:
    """Durable when this returns."""
    beside = path.with_name(f'{path.name}.writing')
    beside.unlink(missing_ok=True)      # mode bits of a leftover would stay
    content = json.dumps({'schema_version': SCHEMA_VERSION, **asdict(session)}).encode()
    descriptor = os.open(beside, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, _OWNER_ONLY)
    with open(descriptor, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    fsync_folder(path.parent)


def load(path: Path, store_url: str, item: Item) -> Session | None:
    """The session of exactly this object with this content; None when there is none to trust."""
    try:
        with open(path, 'rb') as file:
            content = json.loads(file.read(_MAX_BYTES))
        if content.pop('schema_version') != SCHEMA_VERSION:
            return None
        session = Session(**content)
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return None
    same = (session.store_url, session.object, session.bytes, session.crc32c) == \
        (store_url, item.name, item.bytes, item.crc32c)
    return session if same and isinstance(session.session_url, str) else None


def forget(path: Path) -> None:
    """The session is over. Not synchronised: one that a power cut brings back is only asked."""
    path.unlink(missing_ok=True)
