"""What Cloud Storage does with a request, as far as an uploader can tell; no socket, no clock.

After https://cloud.google.com/storage/docs/performing-resumable-uploads and
https://cloud.google.com/storage/docs/json_api/v1/status-codes. Where those leave room this is the
narrow side: a chunk that is not the last is a multiple of 256 KiB, sizes never change, and of what
a broken link brought only whole multiples of 256 KiB are kept. Bytes that are persisted already
are ignored when they come again: a link that was thought dead may still deliver.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, unquote, urlsplit

from edge_case_recorder import manifest

QUANTUM = 256 << 10
_SIZED = re.compile(r'bytes (\d+)-(\d+)/(\d+)')
_ASKED = re.compile(r'bytes \*/(\d+|\*)')


@dataclass(frozen=True)
class Asked:
    """A request. `body` is what arrived of `declared` bytes; fewer means the link was cut."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    declared: int


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b''


@dataclass(frozen=True)
class Arrival:
    """Bytes of one object that came in: [first, first + received) of `declared`.

    session: empty for an upload in one request.
    """

    name: str
    session: str
    first: int
    declared: int
    received: int
    status: int          # 0: the link was cut


@dataclass
class _Session:
    name: str
    size: int
    crc32c: str
    media_type: str
    must_be_new: bool
    data: bytearray = field(default_factory=bytearray)
    ended: int = 0       # 0 open, 200 finished, 410 expired, 499 cancelled


class Rules:
    """One bucket. `handle` is the server; the rest is what a test may look at or tamper with.

    objects: what is there. created: how often each name came to be; 2 would be a duplicate.
    arrivals: every byte range that came in, in order.
    keep_less: of the next chunk that is not the last, so many multiples of 256 KiB are not kept.
    """

    def __init__(self, bucket: str, endpoint: str = 'http://strict') -> None:
        self.bucket = bucket
        self.endpoint = endpoint
        self.exists = True
        self.objects: dict[str, bytes] = {}
        self.media_types: dict[str, str] = {}
        self.created: Counter[str] = Counter()
        self.sessions: dict[str, _Session] = {}
        self.arrivals: list[Arrival] = []
        self.keep_less = 0

    def handle(self, asked: Asked) -> Answer:
        """The reply; for a request that was cut nobody will hear it."""
        parts = urlsplit(asked.target)
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if parts.path == f'/upload/storage/v1/b/{self.bucket}/o':
            if 'upload_id' in query:
                return self._session(asked, query['upload_id'])
            if asked.method == 'POST' and query.get('uploadType') == 'resumable':
                return self._initiate(asked, query)
            if asked.method == 'POST' and query.get('uploadType') == 'multipart':
                return self._multipart(asked, query)
            return error(400, 'invalid', 'this upload is none')
        if asked.method == 'GET' and parts.path == f'/storage/v1/b/{self.bucket}':
            return _json(200, {'name': self.bucket}) if self.exists else _not_found()
        prefix, path = f'/storage/v1/b/{self.bucket}/o/', parts.path.removeprefix('/download')
        if asked.method == 'GET' and path.startswith(prefix):
            return self._get(unquote(path.removeprefix(prefix)), query)
        return _not_found()

    def expire_sessions(self) -> None:
        """As a week does."""
        for session in self.sessions.values():
            session.ended = session.ended or 410

    def _initiate(self, asked: Asked, query: Mapping[str, str]) -> Answer:
        if len(asked.body) < asked.declared:
            return Answer(0)
        if not self.exists:
            return _not_found()
        size = asked.headers.get('x-upload-content-length', '')
        try:
            metadata = json.loads(asked.body or b'{}')
            name = query.get('name') or metadata['name']
        except (ValueError, KeyError, TypeError):
            return error(400, 'required', 'an object needs a name')
        if not size.isdecimal():
            return error(400, 'invalid', 'X-Upload-Content-Length is required here')
        must_be_new = query.get('ifGenerationMatch') == '0'
        if must_be_new and name in self.objects:
            return _precondition()
        upload_id = f'session-{len(self.sessions)}'
        self.sessions[upload_id] = _Session(name, int(size), metadata.get('crc32c', ''),
                                            metadata.get('contentType', ''), must_be_new)
        return Answer(200, {'Location': f'{self.endpoint}/upload/storage/v1/b/{self.bucket}/o'
                                        f'?uploadType=resumable&upload_id={upload_id}'})

    def _session(self, asked: Asked, upload_id: str) -> Answer:
        session = self.sessions.get(upload_id)
        if session is None:
            return _not_found()
        if asked.method == 'DELETE':
            session.ended = session.ended or 499
            return Answer(499)
        if asked.method != 'PUT':
            return error(405, 'methodNotAllowed', 'only PUT and DELETE')
        if session.ended in (410, 499):
            return error(session.ended, 'gone', 'the session is over')
        if session.ended == 200:
            return self._described(session.name)
        given = asked.headers.get('content-range', '')
        if (question := _ASKED.fullmatch(given)) is not None:
            if asked.declared or question[1] not in ('*', str(session.size)):
                return error(400, 'invalid', 'a question has no body and the right size')
            return self._progress(session)
        if (sized := _SIZED.fullmatch(given)) is None:
            return error(400, 'invalid', f'Content-Range {given!r}')
        first, last, size = (int(number) for number in sized.groups())
        answer = self._accept(session, asked, first, last, size)
        cut = len(asked.body) < asked.declared
        self.arrivals.append(Arrival(session.name, upload_id, first, asked.declared,
                                     len(asked.body), 0 if cut else answer.status))
        return Answer(0) if cut else answer

    def _accept(self, session: _Session, asked: Asked, first: int, last: int, size: int) -> Answer:
        if size != session.size or last >= size or asked.declared != last - first + 1:
            return error(400, 'invalid', 'Content-Range, Content-Length and size disagree')
        known = len(session.data) - first
        if known < 0:
            return error(400, 'invalid', f'{len(session.data)} bytes are here, not {first}')
        is_last = last + 1 == size
        if not is_last and asked.declared % QUANTUM:
            return error(400, 'invalid', 'not a multiple of 256 KiB, and not the last chunk')
        whole = len(asked.body) == asked.declared
        kept = len(asked.body)
        if not (whole and is_last):
            kept = max(kept // QUANTUM - (self.keep_less if whole else 0), 0) * QUANTUM
            self.keep_less = 0 if whole else self.keep_less
        session.data += asked.body[min(known, kept):kept]
        session.crc32c = session.crc32c or _told(asked.headers)
        return self._finish(session) if whole and is_last else self._progress(session)

    def _finish(self, session: _Session) -> Answer:
        data = bytes(session.data)
        if session.crc32c not in ('', manifest.crc32c_of(data)):
            session.ended = 410
            return error(400, 'invalid', 'the crc32c that was told is not that of the bytes')
        if session.must_be_new and session.name in self.objects:
            session.ended = 410
            return _precondition()
        session.ended = 200
        session.data = bytearray()
        return self._create(session.name, data, session.media_type)

    def _progress(self, session: _Session) -> Answer:
        if len(session.data) == session.size:
            return self._finish(session)
        return Answer(308, {'Range': f'bytes=0-{len(session.data) - 1}'} if session.data else {})

    def _multipart(self, asked: Asked, query: Mapping[str, str]) -> Answer:
        name = query.get('name', '')
        whole = len(asked.body) == asked.declared
        head, data = _parts(asked.headers.get('content-type', ''), asked.body)
        self.arrivals.append(Arrival(name, '', 0, asked.declared, len(asked.body),
                                     200 if whole else 0))
        if not whole:
            return Answer(0)
        if not self.exists:
            return _not_found()
        if head is None or data is None or (name or head.get('name')) != head.get('name', name):
            return error(400, 'invalid', 'no multipart/related of metadata and data')
        name = name or head.get('name', '')
        if (head.get('crc32c') or _told(asked.headers)) not in ('', manifest.crc32c_of(data)):
            return error(400, 'invalid', 'the crc32c that was told is not that of the bytes')
        if query.get('ifGenerationMatch') == '0' and name in self.objects:
            return _precondition()
        return self._create(name, data, head.get('contentType', ''))

    def _create(self, name: str, data: bytes, media_type: str) -> Answer:
        self.objects[name] = data
        self.media_types[name] = media_type
        self.created[name] += 1
        return self._described(name)

    def _get(self, name: str, query: Mapping[str, str]) -> Answer:
        if not self.exists or name not in self.objects:
            return _not_found()
        if query.get('alt') == 'media':
            data = self.objects[name]
            return Answer(200, {'x-goog-hash': f'crc32c={manifest.crc32c_of(data)}'}, data)
        return self._described(name)

    def _described(self, name: str) -> Answer:
        data = self.objects[name]
        return _json(200, {'name': name, 'bucket': self.bucket, 'size': str(len(data)),
                           'generation': str(self.created[name]),
                           'crc32c': manifest.crc32c_of(data)})


def error(status: int, reason: str, message: str) -> Answer:
    """An error in the form of the JSON API."""
    return _json(status, {'error': {'code': status, 'message': message,
                                    'errors': [{'reason': reason, 'message': message}]}})


def _json(status: int, content: Mapping[str, object]) -> Answer:
    return Answer(status, {'Content-Type': 'application/json'}, json.dumps(content).encode())


def _not_found() -> Answer:
    return error(404, 'notFound', 'Not Found')


def _precondition() -> Answer:
    return error(412, 'conditionNotMet', 'At least one of the pre-conditions you specified did '
                                         'not hold.')


def _told(headers: Mapping[str, str]) -> str:
    """The crc32c of an X-Goog-Hash header, empty without one."""
    match = re.search(r'crc32c=([\w+/=]+)', headers.get('x-goog-hash', ''))
    return match[1] if match else ''


def _parts(media_type: str, body: bytes) -> tuple[dict[str, str] | None, bytes | None]:
    """Metadata and data of a multipart/related body (RFC 2387), None for what is not there."""
    match = re.fullmatch(r'multipart/related; boundary="?([\w=-]+)"?', media_type)
    if match is None:
        return None, None
    mark = f'--{match[1]}'.encode()
    whole = body.removesuffix(b'\r\n').removesuffix(b'\r\n' + mark + b'--')
    if not body.startswith(mark + b'\r\n') or len(body) - len(whole) < len(mark) + 4:
        return None, None
    first, _, rest = whole.removeprefix(mark + b'\r\n').partition(b'\r\n' + mark + b'\r\n')
    head, data = first.partition(b'\r\n\r\n')[2], rest.partition(b'\r\n\r\n')[2]
    try:
        return json.loads(head), data
    except ValueError:
        return None, None
