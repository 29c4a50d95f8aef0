"""The control plane under the reports of a fleet: real TLS connections, a real database.

The server is a process of its own, so its share of a core is what the kernel says of it; a report's
time is from the request's first byte to the answer's last, which comes after the commit.
"""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from figures import distribution

from flywheel.control_plane import desk_tls
from flywheel.control_plane.server import wall_clock_ms
from flywheel.control_plane.tokens import Tokens
from flywheel.rollout import fleet
from flywheel.rollout.database import Database
from flywheel.rollout.desk_postgres import DeskPostgres, missing
from flywheel.rollout.engine import Rollouts
from flywheel.rollout.plan import Plan
from flywheel.rollout.reports import Counter, Report

PERIOD_S = 10.0
BASE, CANDIDATE = 'a' * 64, 'b' * 64
_CONNECTS_AT_ONCE = 50


def run(*, robots: int, seconds: float) -> dict[str, Any]:
    """`sqlite` and `postgresql`: report_ms, cpu_share; null with a reason where there is none."""
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix='bench_fleet_') as folder:
        found['sqlite'] = _measure(Path(folder), f'sqlite:///{folder}/fleet.db', robots, seconds)
        if reason := missing():
            found['postgresql'] = {'report_ms': None, 'cpu_share': None, 'skipped': reason}
            return found
        with DeskPostgres() as server:
            found['postgresql'] = _measure(Path(folder), server.new_database(), robots, seconds)
    return found


def _measure(folder: Path, url: str, robots: int, seconds: float) -> dict[str, Any]:
    names = [f'robot-{number:05}' for number in range(robots)]
    _provision(url, names)
    secret = folder / 'secret'
    secret.write_bytes(secrets.token_bytes(32))
    cert, key = desk_tls.make(folder / 'tls')
    with _server(url, secret, cert, key) as (process, port):
        return asyncio.run(_fleet(names, Tokens(secret.read_bytes()), cert, port,
                                  psutil.Process(process.pid), seconds))


def _provision(url: str, names: list[str]) -> None:
    """A fleet in the middle of a rollout."""
    key = Ed25519PrivateKey.generate().public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    database = Database(url)
    database.migrate()
    now_ms = wall_clock_ms()
    with database.begin() as connection:
        for version, digest in enumerate((BASE, CANDIDATE), 1):
            fleet.add_release(connection, fleet.Release(digest, 'amr', version, ('orin_nano',)),
                              who='bench', now_ms=now_ms)
        fleet.enrol(connection, [fleet.Robot(name, 'orin_nano', key) for name in names], BASE,
                    now_ms=now_ms)
    engine = Rollouts(database)
    engine.start(engine.plan(CANDIDATE, Plan(), who='bench', why='load', now_ms=now_ms),
                 who='bench', why='load', now_ms=now_ms)
    database.close()


@contextlib.contextmanager
def _server(url: str, secret: Path, cert: Path,
            key: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    port = _free_port()
    process = subprocess.Popen(
        [sys.executable, '-m', 'flywheel.control_plane.server', '--database', url,
         '--secret', str(secret), '--cert', str(cert), '--key', str(key), '--port', str(port),
         '--evaluate-s', '10'], start_new_session=True, env=os.environ | {'PYTHONWARNINGS': ''})
    try:
        yield process, port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _fleet(names: list[str], tokens: Tokens, cert: Path, port: int,
                 server: psutil.Process, seconds: float) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=str(cert))
    gate = asyncio.Semaphore(_CONNECTS_AT_ONCE)
    ready, go = asyncio.Barrier(len(names) + 1), asyncio.Event()
    times_ms: list[float] = []
    clock = {'began': 0.0}

    async def robot(number: int, name: str) -> None:
        async with gate:
            reader, writer = await _connect(port, context)
        await ready.wait()
        await go.wait()
        token = tokens._make('session', name, wall_clock_ms() + 600_000)
        due = clock['began'] + PERIOD_S * number / len(names)
        sequence, assignment = 0, 'fleet'
        while due < clock['began'] + PERIOD_S + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            sequence += 1
            body = json.dumps({'reports': [Report(
                name, '0' * 32, sequence, 1, BASE, counters=(
                    Counter(assignment, BASE, sequence * 10_000, 0, 0),)).to_mapping()]}).encode()
            sent = time.monotonic()
            writer.write(b'POST /v1/reports HTTP/1.1\r\nHost: localhost\r\n'
                         b'Authorization: Bearer %s\r\nContent-Type: application/json\r\n'
                         b'Content-Length: %d\r\n\r\n%s' % (token.encode(), len(body), body))
            head = await reader.readuntil(b'\r\n\r\n')
            length = int(head.lower().split(b'content-length:')[1].split(b'\r\n')[0])
            answer = json.loads(await reader.readexactly(length))
            # The first round finds cold caches and robots that were never seen.
            if sequence > 1:
                times_ms.append((time.monotonic() - sent) * 1e3)
            if answer['answers'][0]['outcome'] != 'accepted':
                raise RuntimeError(f'{name}: {answer}')
            due += PERIOD_S
        writer.close()

    tasks = [asyncio.create_task(robot(number, name)) for number, name in enumerate(names)]
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    clock['began'] = time.monotonic()
    go.set()
    await asyncio.sleep(PERIOD_S)
    before, began = sum(server.cpu_times()[:2]), time.monotonic()
    await asyncio.sleep(seconds - 1.0)
    used = sum(server.cpu_times()[:2]) - before
    span = time.monotonic() - began
    await asyncio.gather(*tasks)
    return {'report_ms': distribution(times_ms), 'cpu_share': round(used / span, 4),
            'robots': len(names), 'reports_per_s': round(len(times_ms) / seconds, 1),
            'rss_mb': round(server.memory_info().rss / 2 ** 20, 1)}


async def _connect(port: int, context: ssl.SSLContext) -> tuple[asyncio.StreamReader,
                                                               asyncio.StreamWriter]:
    """As soon as the server listens."""
    limit = time.monotonic() + 30.0
    while True:
        try:
            return await asyncio.open_connection('127.0.0.1', port, ssl=context,
                                                 server_hostname='localhost')
        except OSError:
            if time.monotonic() > limit:
                raise
            await asyncio.sleep(0.2)


def _free_port() -> int:
    import socket
    with socket.socket() as found:
        found.bind(('127.0.0.1', 0))
        return int(found.getsockname()[1])
