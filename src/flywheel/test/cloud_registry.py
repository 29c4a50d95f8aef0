"""A small container registry over real HTTP for tests: manifests, digests, tokens, and faults.

It serves what the OCI distribution specification asks of HEAD and GET on
/v2/<name>/manifests/<tag or digest>, and a token server at /token.
"""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

INDEX = 'application/vnd.oci.image.index.v1+json'
TOKEN = 'a-token-for-a-test'
LOGIN = 'dXNlcjpwYXNzd29yZA=='     # user:password


def index(*platforms: str) -> bytes:
    """A manifest list for platforms such as linux/arm64."""
    entries = []
    for platform in platforms:
        system, _, architecture = platform.partition('/')
        entries.append({'mediaType': 'application/vnd.oci.image.manifest.v1+json',
                        'digest': 'sha256:' + hashlib.sha256(platform.encode()).hexdigest(),
                        'size': 1, 'platform': {'os': system, 'architecture': architecture}})
    return json.dumps({'schemaVersion': 2, 'mediaType': INDEX, 'manifests': entries}).encode()


def digest(content: bytes) -> str:
    return 'sha256:' + hashlib.sha256(content).hexdigest()


class LocalRegistry:
    """images: (name, tag) -> manifest. private: names that need a token, and the token a login.

    fault: what the server does wrong: `no_digest`, `wrong_body`, `redirect`, `huge`, `error`,
    `not_json`.
    """

    def __init__(self, images: dict[tuple[str, str], bytes], private: frozenset[str] = frozenset(),
                 fault: str = '') -> None:
        self.images, self.private, self.fault = dict(images), private, fault
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = 'HTTP/1.1'

            def do_HEAD(self) -> None:
                registry.answer(self)

            def do_GET(self) -> None:
                registry.answer(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.host = f'127.0.0.1:{self._server.server_port}'

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.requests.append((request.command, request.path, dict(request.headers)))
        path, _, _ = request.path.partition('?')
        if path == '/token':
            good = request.headers.get('Authorization') == f'Basic {LOGIN}'
            self._send(request, 200 if good else 401,
                       json.dumps({'token': TOKEN}).encode() if good else b'{}')
            return
        name, _, reference = path.removeprefix('/v2/').partition('/manifests/')
        if name in self.private and request.headers.get('Authorization') != f'Bearer {TOKEN}':
            self._send(request, 401, b'{}', {'WWW-Authenticate': (
                f'Bearer realm="http://{self.host}/token",service="local",'
                f'scope="repository:{name}:pull"')})
            return
        self._send_manifest(request, name, reference)

    def _send_manifest(self, request: BaseHTTPRequestHandler, name: str, reference: str) -> None:
        found = next((body for (image, tag), body in self.images.items() if image == name
                      and reference in (tag, digest(body))), None)
        if self.fault == 'error':
            self._send(request, 500, b'{}')
        elif self.fault == 'redirect':
            self._send(request, 307, b'', {'Location': 'http://127.0.0.1:1/elsewhere'})
        elif found is None or INDEX not in request.headers.get('Accept', ''):
            self._send(request, 404, b'{}')
        else:
            headers = {'Content-Type': INDEX, 'Docker-Content-Digest': digest(found)}
            if self.fault == 'no_digest':
                del headers['Docker-Content-Digest']
            if request.command == 'GET' and self.fault == 'wrong_body':
                found += b' '
            if request.command == 'GET' and self.fault == 'huge':
                found = b' ' * (4 * 1024 * 1024 + 1)
            self._send(request, 200, found, headers)

    @staticmethod
    def _send(request: BaseHTTPRequestHandler, status: int, body: bytes,
              headers: dict[str, str] | None = None) -> None:
        request.send_response(status)
        for key, value in (headers or {}).items():
            request.send_header(key, value)
        request.send_header('Content-Length', str(len(body)))
        request.end_headers()
        if request.command != 'HEAD':
            try:
                request.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                request.close_connection = True

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
