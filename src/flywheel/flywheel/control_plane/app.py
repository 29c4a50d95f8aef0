"""The service: challenge, session, desired state, reports, releases and their files.

| request | what |
|---|---|
| `POST /v1/challenge` `{robot_id}` | something to sign |
| `POST /v1/session` `{robot_id, challenge, signature}` | a token for ten minutes |
| `GET /v1/desired?wait_s=` | what this robot is to run; `If-None-Match` and a long poll |
| `POST /v1/reports` `{reports: [..]}` | answered when they are committed |
| `GET /v1/releases/DIGEST` | the signed manifest |
| `GET /v1/releases/DIGEST/files/PATH` | a file of it, in ranges where the store is a folder |
| `GET /healthz` | whether the database answers |
"""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, text
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from flywheel.release import manifest as manifests
from flywheel.release.envelope import verify
from flywheel.release.errors import ReleaseError
from flywheel.release.manifest import PAYLOAD_TYPE
from flywheel.release.store import CHUNK, FolderStore, Store
from flywheel.rollout import fleet
from flywheel.rollout.database import Database
from flywheel.rollout.desired import Desired
from flywheel.rollout.engine import Rollouts
from flywheel.rollout.errors import RolloutError
from flywheel.rollout.reports import MOST_REPORTS, ReportError, is_digest, is_robot_id, parse

from .tokens import TokenError, Tokens
from .writer import BusyError, Writer

_log = logging.getLogger('flywheel.control_plane')
_MAX_BODY = 262_144
_MOST_WAIT_S = 60.0
_POLL_S = 1.0
_MOST_SESSIONS = 50_000
_Handler = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True)
class Settings:
    """clock_ms: the server's, UTC. store and public_keys: of the model repository; without them
    files are not served. evaluate_period_s: how often a rollout under way is judged."""
    database: Database
    tokens: Tokens
    clock_ms: Callable[[], int]
    store: Store | None = None
    public_keys: dict[str, bytes] | None = None
    window_s: float = 0.02
    evaluate_period_s: float = 60.0


def application(settings: Settings) -> Starlette:
    """An ASGI application; its database is migrated already."""
    plane = _Plane(settings)
    return Starlette(routes=[
        Route('/v1/reports', plane.reports, methods=['POST']),    # first: most requests by far
        Route('/healthz', plane.health),
        Route('/v1/challenge', plane.challenge, methods=['POST']),
        Route('/v1/session', plane.session, methods=['POST']),
        Route('/v1/desired', plane.desired),
        Route('/v1/releases/{digest}', plane.release),
        Route('/v1/releases/{digest}/files/{path:path}', plane.file),
    ], lifespan=plane.lifespan, exception_handlers={
        HTTPException: _say_http, TokenError: _say_token, BusyError: _say_busy,
        RolloutError: _say_away, ReleaseError: _say_release})


class _Plane:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tokens = settings.tokens
        self._clock_ms = settings.clock_ms
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._known: dict[str, int] = {}        # revision of the robots that wait
        self._sessions: dict[str, tuple[str, int]] = {}      # tokens that were found true
        self._writer: Writer

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        self._writer = Writer(self._settings.database, self._clock_ms, self._settings.window_s)
        tasks = [asyncio.create_task(each) for each in
                 (self._writer.write_forever(), self._watch(), self._evaluate())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._writer.close()

    async def health(self, _request: Request) -> Response:
        await self._writer.call(lambda connection: connection.execute(text('SELECT 1')))
        return JSONResponse({'status': 'ok'})

    async def challenge(self, request: Request) -> Response:
        content = await _body(request, 4096)
        robot_id = _robot_id(content)
        # Given to anybody: whether the robot exists is not said before it has signed.
        return JSONResponse({'challenge': self._tokens.challenge(robot_id, self._clock_ms())})

    async def session(self, request: Request) -> Response:
        content = await _body(request, 4096)
        robot_id = _robot_id(content)
        challenge, signature = content.get('challenge'), content.get('signature')
        if not isinstance(challenge, str) or not isinstance(signature, str):
            raise HTTPException(400, 'challenge and signature are texts')
        key = await self._writer.call(
            lambda connection: fleet.public_key(connection, robot_id))
        if key is None:
            raise TokenError('the challenge is not signed with the robot\'s key')
        return JSONResponse({'token': self._tokens.session(robot_id, challenge, signature, key,
                                                           self._clock_ms())})

    async def reports(self, request: Request) -> Response:
        robot_id = self._who(request)
        content = (await _body(request, _MAX_BODY)).get('reports')
        if not isinstance(content, list) or not 1 <= len(content) <= MOST_REPORTS:
            raise HTTPException(400, f'reports: a list of 1 to {MOST_REPORTS}')
        try:
            found = [parse(each) for each in content]
        except ReportError as error:
            raise HTTPException(400, str(error)) from None
        if any(each.robot_id != robot_id for each in found):
            raise HTTPException(403, 'a robot reports for itself alone')
        acks = await self._writer.take(found)
        return JSONResponse({'answers': [
            {'sequence': each.sequence, 'outcome': each.outcome, 'reason': each.reason,
             'revision': each.revision} for each in acks]})

    async def desired(self, request: Request) -> Response:
        robot_id = self._who(request)
        known = request.headers.get('if-none-match', '').strip().removeprefix('W/').strip('"')
        try:
            wait_s = min(_MOST_WAIT_S, max(0.0, float(request.query_params.get('wait_s', 0))))
        except ValueError:
            raise HTTPException(400, 'wait_s is a number of seconds') from None
        found = await self._desired(robot_id)
        if wait_s > 0 and known == str(found.revision):
            await self._changed(robot_id, found.revision, wait_s)
            found = await self._desired(robot_id)
        tag = {'ETag': f'"{found.revision}"'}
        if known == str(found.revision):
            return Response(status_code=304, headers=tag)
        return JSONResponse({'revision': found.revision, 'release': found.release,
                             'assignment': found.assignment}, headers=tag)

    async def release(self, request: Request) -> Response:
        self._who(request)
        return Response((await self._release(request)).envelope,
                        media_type='application/vnd.dsse.envelope.v1+json')

    async def file(self, request: Request) -> Response:
        self._who(request)
        known = await self._release(request)
        store, keys = self._settings.store, self._settings.public_keys
        if store is None or keys is None:
            raise HTTPException(404, 'this control plane has no model repository')
        manifest = manifests.parse(verify(known.envelope, PAYLOAD_TYPE, keys).payload)
        path = request.path_params['path']
        # Only what a signed manifest names is ever looked for.
        if path not in {file.path for file in manifest.files}:
            raise HTTPException(404, 'the release has no such file')
        name = f'{manifest.name}/{manifest.version}/{path}'
        if isinstance(store, FolderStore):
            return FileResponse(await asyncio.to_thread(store.path, name),
                                media_type='application/octet-stream')
        return StreamingResponse(_blocks(store, name), media_type='application/octet-stream')

    def _who(self, request: Request) -> str:
        """The robot behind a request; raises TokenError."""
        scheme, _, token = request.headers.get('authorization', '').partition(' ')
        if scheme.lower() != 'bearer':
            raise TokenError('a bearer token is needed')
        now_ms = self._clock_ms()
        robot_id, until_ms = self._sessions.get(token, ('', 0))
        if now_ms > until_ms:
            robot_id, until_ms = self._tokens.robot(token, now_ms)
            if len(self._sessions) >= _MOST_SESSIONS:
                self._sessions.clear()
            self._sessions[token] = robot_id, until_ms
        return robot_id

    async def _desired(self, robot_id: str) -> Desired:
        found = await self._writer.call(
            lambda connection: fleet.desired(connection, [robot_id]))
        if robot_id not in found:
            raise HTTPException(403, 'the robot is not enrolled')
        return found[robot_id]

    async def _release(self, request: Request) -> fleet.Release:
        digest = request.path_params['digest']
        if not is_digest(digest):
            raise HTTPException(404, 'that is no digest of a release')

        def read(connection: Connection) -> fleet.Release | None:
            try:
                return fleet.release_of(connection, digest)
            except RolloutError:
                return None
        found = await self._writer.call(read)
        if found is None:
            raise HTTPException(404, 'there is no such release')
        return found

    async def _changed(self, robot_id: str, revision: int, wait_s: float) -> None:
        """Until the robot's desired state is another, or the time is over."""
        event = asyncio.Event()
        waiting = self._waiters.setdefault(robot_id, set())
        waiting.add(event)
        self._known[robot_id] = revision
        try:
            await asyncio.wait_for(event.wait(), wait_s)
        except TimeoutError:
            pass
        finally:
            waiting.discard(event)
            if not waiting:
                self._waiters.pop(robot_id, None)
                self._known.pop(robot_id, None)

    async def _watch(self) -> None:
        """One query a second for all robots that wait."""
        while True:
            await asyncio.sleep(_POLL_S)
            names = list(self._waiters)
            if not names:
                continue
            try:
                found = await self._writer.call(
                    lambda connection, names=names: fleet.desired(  # type: ignore[misc]
                        connection, names))
            except RolloutError as error:
                _log.warning('%s', error)
                continue
            for name in names:
                if name not in found or found[name].revision != self._known.get(name):
                    for event in self._waiters.get(name, ()):
                        event.set()

    async def _evaluate(self) -> None:
        engine = Rollouts(self._settings.database)
        while True:
            await asyncio.sleep(self._settings.evaluate_period_s)
            try:
                decision = await self._writer.run(
                    lambda: engine.evaluate_active(now_ms=self._clock_ms()))
            except RolloutError as error:
                _log.warning('%s', error)
                continue
            if decision is not None:
                _log.info('%s: %s', decision.verdict, '; '.join(decision.reasons))


async def _body(request: Request, limit: int) -> dict[str, Any]:
    """JSON of at most `limit` bytes; raises HTTPException."""
    found, length = b'', 0
    try:
        async for part in request.stream():
            length += len(part)
            # Heard out for a while: who still sends does not hear an answer.
            if length <= limit:
                found += part
            elif length > 16 * limit:
                break
    except ClientDisconnect:
        raise HTTPException(400, 'the request ended early') from None
    if length > limit:
        raise HTTPException(413, f'at most {limit} bytes')
    try:
        content = json.loads(found)
    except (ValueError, RecursionError):
        raise HTTPException(400, 'the body is not JSON') from None
    if not isinstance(content, dict):
        raise HTTPException(400, 'the body is not an object')
    return content


def _robot_id(content: dict[str, Any]) -> str:
    robot_id = content.get('robot_id')
    if not isinstance(robot_id, str) or not is_robot_id(robot_id):
        raise HTTPException(400, 'robot_id has another form')
    return robot_id


async def _blocks(store: Store, name: str) -> AsyncIterator[bytes]:
    with contextlib.ExitStack() as stack:
        stream = await asyncio.to_thread(stack.enter_context, store.open(name))
        while block := await asyncio.to_thread(stream.read, CHUNK):
            yield block


def _say(status: int, error: Exception) -> Response:
    return JSONResponse({'error': str(error)}, status_code=status)


def _say_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({'error': error.detail}, status_code=error.status_code)


def _say_token(_request: Request, error: Exception) -> Response:
    return _say(401, error)


def _say_busy(_request: Request, error: Exception) -> Response:
    return _say(503, error)


def _say_away(_request: Request, error: Exception) -> Response:
    # A robot is not told where the database is.
    _log.error('%s', error)
    return JSONResponse({'error': 'the database is away'}, status_code=503)


def _say_release(_request: Request, error: Exception) -> Response:
    _log.error('%s', error)
    return JSONResponse({'error': 'the model repository does not have it'}, status_code=503)
