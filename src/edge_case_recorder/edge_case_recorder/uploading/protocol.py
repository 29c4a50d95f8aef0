"""Google's resumable upload of one object, as a state machine without a socket.

    no session --initiate--> ask where we are --308--> send a chunk --308--> .. --200--> the object
                                   ^------ no reply, 5xx, 401 ----|
    404, 410, 499: the session is gone: initiate again

After https://cloud.google.com/storage/docs/performing-resumable-uploads: a session is a POST with
`uploadType=resumable` that answers with a Location; chunks are PUTs to it with a Content-Range,
each a multiple of 256 KiB but the last; 308 says in Range what is persisted (no Range: nothing),
which may be less than was sent; an empty PUT with `bytes */SIZE` asks for it. The metadata of the
initiation carry the crc32c of the whole object, so the server itself refuses other bytes, and
`ifGenerationMatch=0` makes it refuse a name that is taken.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from edge_case_recorder.uploading.replies import Reply, object_info, trouble_of
from edge_case_recorder.uploading.trouble import Item, ObjectInfo, StoreError, Trouble

QUANTUM = 256 << 10
_RANGE = re.compile(r'bytes=0-(\d+)')
_SESSION_GONE = (404, 410, 499)
_SESSION_LIVES = (401, 403, 408, 429)


class NameTakenError(RuntimeError):
    """An object has the name already; whoever sent it must be looked at (412)."""


@dataclass(frozen=True)
class Request:
    """One request. `piece`: the file's bytes [first, end) that go between `before` and `after`."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    before: bytes = b''
    piece: tuple[int, int] | None = None
    after: bytes = b''


class _Asked(Enum):
    NOTHING = auto()
    SESSION = auto()
    STATE = auto()
    CHUNK = auto()


class ResumableUpload:
    """One object's way. Ask `request()` what to send, give its reply to `take()`, until it is done.

    item: at least one byte long.
    initiate_url: the upload URL of the object with its name and precondition.
    session_url: of an earlier process, empty for a new session.
    """

    def __init__(self, item: Item, initiate_url: str, session_url: str = '') -> None:
        if item.bytes < 1:
            raise ValueError(f'{item.name}: an empty object has no resumable upload')
        self.session_url = session_url
        self.persisted: int | None = None      # None: the server must be asked
        self._item = item
        self._initiate_url = initiate_url
        self._asked = _Asked.NOTHING
        self._first = 0

    def request(self, chunk_bytes: int) -> Request:
        """What to send next: the initiation, the question, or at most chunk_bytes of the file."""
        size = self._item.bytes
        if not self.session_url:
            self._asked = _Asked.SESSION
            metadata = {'contentType': self._item.content_type, 'crc32c': self._item.crc32c}
            return Request('POST', self._initiate_url, {
                'Content-Type': 'application/json; charset=UTF-8',
                'X-Upload-Content-Type': self._item.content_type,
                'X-Upload-Content-Length': str(size)}, before=json.dumps(metadata).encode())
        if self.persisted is None:
            self._asked = _Asked.STATE
            return Request('PUT', self.session_url, {'Content-Range': f'bytes */{size}'})
        self._asked = _Asked.CHUNK
        self._first = self.persisted
        end = min(size, self._first + max(chunk_bytes // QUANTUM, 1) * QUANTUM)
        return Request('PUT', self.session_url, {
            'Content-Range': f'bytes {self._first}-{end - 1}/{size}'}, piece=(self._first, end))

    def take(self, reply: Reply | None) -> ObjectInfo | None:
        """Take the reply (None: there was none); the object's state once it is whole.

        Raises StoreError with the trouble, NameTakenError when somebody has the name. Whatever is
        raised, `request()` then says how to go on.
        """
        asked, self._asked = self._asked, _Asked.NOTHING
        if reply is None:
            self.persisted = None
            return None
        if asked is _Asked.SESSION:
            self._take_session(reply)
            return None
        if reply.status in (200, 201):
            found = object_info(reply)
            if found is None:
                raise NameTakenError
            return found
        if reply.status == 308:
            self._take_progress(reply, asked)
            return None
        self.persisted = None
        if reply.status in _SESSION_GONE:
            self.session_url = ''
            raise StoreError(Trouble.EXPIRED, f'{self._item.name}: the server no longer knows the '
                                              f'upload ({reply.status}); it begins anew')
        if reply.status == 412:
            self.session_url = ''
            raise NameTakenError
        if reply.status < 500 and reply.status not in _SESSION_LIVES:
            self.session_url = ''
        raise trouble_of(reply, self._item.name)

    def _take_session(self, reply: Reply) -> None:
        if reply.status == 412:
            raise NameTakenError
        if reply.status not in (200, 201):
            raise trouble_of(reply, self._item.name)
        self.session_url = reply.headers.get('location', '')
        if not self.session_url:
            raise StoreError(Trouble.UNREACHABLE, f'{self._item.name}: a session without Location')
        self.persisted = 0

    def _take_progress(self, reply: Reply, asked: _Asked) -> None:
        size = self._item.bytes
        given = reply.headers.get('range')
        if given is None:
            self.persisted = 0 if asked is _Asked.STATE else None
            if asked is _Asked.CHUNK:
                # It happens once in millions, and is not to be believed without asking:
                # https://github.com/googleapis/google-cloud-cpp/pull/7877
                raise StoreError(Trouble.UNREACHABLE, f'{self._item.name}: the server does not say '
                                                      'what it kept of a chunk')
            return
        match = _RANGE.fullmatch(given)
        persisted = int(match[1]) + 1 if match else size + 1
        # More than this process sent is no lie: a killed one's last chunk may arrive after all.
        if persisted > size:
            self.session_url, self.persisted = '', None
            raise StoreError(Trouble.EXPIRED, f'{self._item.name}: the server has {given!r}, more '
                                              'than there is; it begins anew')
        if persisted == size:
            self.persisted = None
            raise StoreError(Trouble.UNREACHABLE, f'{self._item.name}: all bytes are there and the '
                                                  'server has not finished the object')
        self.persisted = persisted
        if asked is _Asked.CHUNK and persisted <= self._first:
            raise StoreError(Trouble.UNREACHABLE, f'{self._item.name}: the server kept nothing of '
                                                  'a chunk')
