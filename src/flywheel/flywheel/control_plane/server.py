"""The control plane as a process, or as a thread of a test: uvicorn with TLS.

    python -m flywheel.control_plane.server --database URL --secret FILE --cert FILE --key FILE
"""

import argparse
import logging
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from flywheel.release.errors import ReleaseError
from flywheel.release.store import open_store
from flywheel.rollout.database import Database
from flywheel.rollout.errors import RolloutError

from .app import Settings, application
from .tokens import Tokens

# Of a request's line and headers: larger ones are refused before anybody is asked who it is.
_MAX_HEAD = 16_384
_MOST_CONNECTIONS = 20_000


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


class _LimitedHead(HttpToolsProtocol):
    """httptools has no limit on a request's line and headers; a head without end is cut off."""

    _in_head, _head_bytes = True, 0

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > _MAX_HEAD:
                self.transport.close()

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()


def configuration(settings: Settings, cert: Path, key: Path, *, host: str = '127.0.0.1',
                  port: int = 8443) -> uvicorn.Config:
    return uvicorn.Config(
        application(settings), host=host, port=port, ssl_certfile=str(cert), ssl_keyfile=str(key),
        http=_LimitedHead, ws='none', access_log=False, limit_concurrency=_MOST_CONNECTIONS,
        backlog=4096, timeout_keep_alive=75, timeout_graceful_shutdown=1, server_header=False,
        log_level='warning')


class Server:
    """In a thread, on a free port of loopback. Use it as a context manager."""

    def __init__(self, settings: Settings, cert: Path, key: Path, *, port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(('127.0.0.1', port))
        self.port = self._socket.getsockname()[1]
        self._server = uvicorn.Server(configuration(settings, cert, key, port=self.port))
        self._thread = threading.Thread(target=self._server.run,
                                        kwargs={'sockets': [self._socket]}, daemon=True)

    @property
    def url(self) -> str:
        return f'https://localhost:{self.port}'

    def __enter__(self) -> Self:
        self._socket.listen(4096)          # robots may connect before it is ready
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m flywheel.control_plane.server',
                                     description='The control plane of a fleet.')
    parser.add_argument('--database', required=True, help='sqlite:///FILE or postgresql://..')
    parser.add_argument('--secret', type=Path, required=True, help='32 bytes or more')
    parser.add_argument('--cert', type=Path, required=True, help='the chain, PEM')
    parser.add_argument('--key', type=Path, required=True, help='its private key, PEM')
    parser.add_argument('--repository', help='the model repository: gs://.. or a folder')
    parser.add_argument('--release-key', action='append', default=[], metavar='ID=FILE',
                        help='who may sign releases: public key, PEM')
    parser.add_argument('--host', default='127.0.0.1')
    parser.add_argument('--port', type=int, default=8443)
    parser.add_argument('--evaluate-s', type=float, default=60.0,
                        help='how often a rollout under way is judged')
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format='%(levelname)s %(name)s: %(message)s')
    try:
        database = Database(options.database)
        database.migrate()
        keys = {}
        for each in options.release_key:
            name, _, file = each.partition('=')
            keys[name] = Path(file).read_bytes()
        settings = Settings(
            database, Tokens(options.secret.read_bytes()), wall_clock_ms,
            open_store(options.repository) if options.repository else None, keys,
            evaluate_period_s=options.evaluate_s)
        server = uvicorn.Server(configuration(settings, options.cert, options.key,
                                              host=options.host, port=options.port))
    except (RolloutError, ReleaseError, OSError, ValueError) as error:
        print(f'control plane: {error}', file=sys.stderr)
        return 1
    server.run()
    return 0 if server.started else 1


if __name__ == '__main__':
    sys.exit(main())
