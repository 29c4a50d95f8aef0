"""A bucket of Google Cloud Storage, by its JSON API.

An object that fits into one chunk goes in one request (a multipart upload), a larger one by a
session. So whatever happens, at most one chunk is sent again.
"""

import json
import time
from collections.abc import Callable
from urllib.parse import quote, urlencode

from edge_case_recorder import manifest
from edge_case_recorder.uploading import session as sessions
from edge_case_recorder.uploading.pace import Body, ChunkSize, TokenBucket
from edge_case_recorder.uploading.protocol import NameTakenError, Request, ResumableUpload
from edge_case_recorder.uploading.replies import Reply, object_info, trouble_of
from edge_case_recorder.uploading.session import Session
from edge_case_recorder.uploading.transport import HttpTransport, Transport
from edge_case_recorder.uploading.trouble import Item, ObjectInfo, StoreError, Trouble
from edge_case_recorder.uploading.wall_clock import BELIEVABLE_S, WallClock

_BOUNDARY = 'a-case-of-a-robot'


class GcsStore:
    """One bucket and prefix. One thread at a time.

    transport: this machine's own by default; raises StoreError of CREDENTIALS without any.
    cap: of the bytes of all objects; None for none.
    """

    def __init__(self, bucket: str, prefix: str, *, transport: Transport | None = None,
                 cap: TokenBucket | None = None, chunks: ChunkSize | None = None,
                 clock: WallClock | None = None,
                 steady_s: Callable[[], float] = time.monotonic,
                 sleep: Callable[[float], object] = time.sleep) -> None:
        self.url = f'gs://{bucket}/{prefix}'.rstrip('/')
        self.clock = clock or WallClock()
        self.chunks = chunks or ChunkSize()
        self._transport = transport or HttpTransport()
        self._bucket = quote(bucket, safe='')
        self._prefix = f'{prefix}/' if prefix else ''
        self._cap, self._steady_s, self._sleep = cap, steady_s, sleep

    def sending(self, item: Item) -> 'GcsSending':
        """An object's way into the bucket; goes on where an earlier process left it."""
        return GcsSending(self, item)

    def stat(self, name: str) -> ObjectInfo | None:
        reply = self.exchange(Request('GET', f'{self._object(name)}?fields=size,crc32c'))
        if reply.status == 200:
            return object_info(reply)
        # A missing bucket says 404 too; only the upload itself will tell.
        if reply.status == 404:
            return None
        raise self.trouble_of(reply, name)

    def get(self, name: str) -> bytes:
        reply = self.exchange(Request('GET', f'{self._object(name)}?alt=media'))
        if reply.status != 200:
            raise self.trouble_of(reply, name)
        hashes = reply.headers.get('x-goog-hash', '')
        told = [each.strip().removeprefix('crc32c=') for each in hashes.split(',')
                if each.strip().startswith('crc32c=')]
        if told and told[0] != manifest.crc32c_of(reply.body):
            raise StoreError(Trouble.UNREACHABLE, f'{self.url}/{name}: it came damaged over the '
                                                  'network')
        return reply.body

    def learn_time(self) -> None:
        """Ask for anything: every reply has a date."""
        self.exchange(Request('GET', f'{self._transport.endpoint}/storage/v1/b/{self._bucket}'
                                     '?fields=name'))

    def put_whole(self, item: Item) -> ObjectInfo | None:
        """The object in one request; raises NameTakenError."""
        metadata = {'name': self._prefix + item.name, 'contentType': item.content_type,
                    'crc32c': item.crc32c}
        before = (f'--{_BOUNDARY}\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n'
                  f'{json.dumps(metadata)}\r\n--{_BOUNDARY}\r\n'
                  f'Content-Type: {item.content_type}\r\n\r\n').encode()
        reply = self.exchange(Request(
            'POST', self.upload_url('multipart', item.name),
            {'Content-Type': f'multipart/related; boundary={_BOUNDARY}'}, before=before,
            piece=(0, item.bytes), after=f'\r\n--{_BOUNDARY}--\r\n'.encode()), item)
        if reply.status == 412:
            raise NameTakenError
        if reply.status not in (200, 201):
            raise self.trouble_of(reply, item.name)
        return object_info(reply)

    def upload_url(self, kind: str, name: str) -> str:
        query = urlencode({'uploadType': kind, 'name': self._prefix + name, 'ifGenerationMatch': 0})
        return f'{self._transport.endpoint}/upload/storage/v1/b/{self._bucket}/o?{query}'

    def exchange(self, request: Request, item: Item | None = None) -> Reply:
        """One request and its reply; the size of chunks follows how the file's bytes fare."""
        count = request.piece[1] - request.piece[0] if request.piece else 0
        body = self._body(request, item)
        began_s = self._steady_s()
        try:
            reply = self._transport.send(request, body)
        except StoreError as error:
            if count:
                self.chunks.failed()
            raise self.explained(error) from error
        finally:
            if body is not None:
                body.close()
        if count and reply.status < 400:
            self.chunks.arrived(count, self._steady_s() - began_s)
        elif count and (reply.status >= 500 or reply.status == 408):
            self.chunks.failed()
        self.clock.heard(reply.headers.get('date', ''))
        if reply.status == 401:
            self._transport.renew()
        return reply

    def trouble_of(self, reply: Reply, name: str) -> StoreError:
        """As replies.trouble_of; but who is refused with a wrong clock is told of the clock."""
        return self.explained(trouble_of(reply, f'{self.url}/{name}'))

    def explained(self, error: StoreError) -> StoreError:
        off_s = self.clock.machine_is_off_by_s()
        if error.trouble is not Trouble.CREDENTIALS or abs(off_s) < BELIEVABLE_S:
            return error
        return StoreError(Trouble.CLOCK, f'this machine\'s clock is {abs(off_s):.0f} s '
                                         f'{"ahead of" if off_s > 0 else "behind"} the bucket\'s; '
                                         f'{error}')

    def _body(self, request: Request, item: Item | None) -> Body | None:
        if request.piece is None or item is None:
            return None
        try:
            return Body(item.path, *request.piece, before=request.before, after=request.after,
                        cap=self._cap, steady_s=self._steady_s, sleep=self._sleep, keys=item.keys)
        except OSError as error:
            raise StoreError(Trouble.DAMAGED, f'{item.path}: {error.strerror}') from error

    def _object(self, name: str) -> str:
        return (f'{self._transport.endpoint}/storage/v1/b/{self._bucket}/o/'
                f'{quote(self._prefix + name, safe="")}')


class GcsSending:
    """One object, a chunk at a time. It may be left at any time and taken up again."""

    def __init__(self, store: GcsStore, item: Item) -> None:
        self.item = item
        self._store = store
        self._session_path = sessions.session_path(item)
        self._upload: ResumableUpload | None = None
        kept = sessions.load(self._session_path, store.url, item)
        if kept is not None:
            self._upload = self._resumable(kept.session_url)

    @property
    def persisted(self) -> int:
        """How many bytes the server is known to have."""
        return (self._upload.persisted or 0) if self._upload else 0

    def step(self) -> ObjectInfo | None:
        """Send at most one chunk; the object's state in the bucket once it has all of it.

        Raises StoreError; the next step goes on as well as can be.
        """
        try:
            if self._upload is None:
                # Asked first: a server learns of a taken name only after all the bytes.
                found = self._store.stat(self.item.name)
                if found is not None:
                    return found
                if self.item.bytes <= self._store.chunks.bytes:
                    return self._store.put_whole(self.item) or self._who_has_it()
                self._upload = self._resumable('')
            found = self._chunk(self._upload)
        except NameTakenError:
            found = self._who_has_it()
        if found is not None:
            sessions.forget(self._session_path)
        return found

    def _chunk(self, upload: ResumableUpload) -> ObjectInfo | None:
        """Whatever must be asked first, then one chunk."""
        for _ in range(3):
            request = upload.request(self._store.chunks.bytes)
            before = upload.session_url
            try:
                reply = self._exchange(upload, request)
                found = upload.take(reply)
            except StoreError as error:
                raise self._store.explained(error) from error
            finally:
                self._keep(before, upload.session_url)
            if found is not None or request.piece is not None:
                return found
        return None

    def _exchange(self, upload: ResumableUpload, request: Request) -> Reply:
        try:
            return self._store.exchange(request, self.item)
        except StoreError as error:
            upload.take(None)
            if error.trouble is Trouble.EXPIRED:
                upload.session_url = ''
            raise

    def _keep(self, before: str, now: str) -> None:
        """The session on the disk is the session in use, before a byte is sent to it."""
        if now == before:
            return
        if not now:
            sessions.forget(self._session_path)
            self._upload = None
            return
        try:
            sessions.save(self._session_path, Session(
                self._store.url, self.item.name, self.item.bytes, self.item.crc32c,
                time.time_ns(), now))
        except OSError as error:
            # A full disk: only a kill costs more than a chunk now.
            raise StoreError(Trouble.FULL, f'{self._session_path}: {error.strerror}') from error

    def _who_has_it(self) -> ObjectInfo:
        self._upload = None
        found = self._store.stat(self.item.name)
        if found is None:
            raise StoreError(Trouble.UNREACHABLE, f'{self.item.name}: the name is taken and '
                                                  'nothing is there')
        return found

    def _resumable(self, session_url: str) -> ResumableUpload:
        return ResumableUpload(self.item, self._store.upload_url('resumable', self.item.name),
                               session_url)
