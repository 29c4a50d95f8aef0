"""The control plane over HTTPS, as the robot sees it.

The robot proves who it is by signing a challenge with its own key, once per session; what it gets
is a token that is sent with each request. No clock of the robot is involved in that (TLS wants one
that is right to within the certificate's life).
"""

import base64
import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from flywheel.rollout.desired import Desired
from flywheel.rollout.reports import Report, is_digest

from .cloud import Answer, AwayError, RefusedError

_MAX_REPLY = 4_500_000
_CHUNK = 1 << 18
SESSION_PREFIX = b'spinal robot session\n'


class HttpsCloud:
    """One robot's connection. Raises AwayError and RefusedError as Cloud says.

    url: `https://HOST[:PORT]`. private_key_pem: the robot's own, Ed25519. ca_file: whom to believe
    that it is the control plane; the system's authorities if None.
    """

    def __init__(self, url: str, robot_id: str, private_key_pem: bytes, *,
                 ca_file: Path | None = None, timeout_s: float = 10.0) -> None:
        if not url.startswith('https://'):
            raise ValueError(f'{url!r}: the control plane is spoken to over https:// only')
        key = load_pem_private_key(private_key_pem, None)
        if not isinstance(key, Ed25519PrivateKey):
            raise ValueError('the robot\'s key is not an Ed25519 one')
        self._key, self._robot_id, self._url = key, robot_id, url.rstrip('/')
        self._token = ''
        self._pool = urllib3.PoolManager(
            ca_certs=str(ca_file) if ca_file else None, cert_reqs='CERT_REQUIRED', retries=False,
            timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s), maxsize=1)

    def desired(self, known: int, *, wait_s: int = 0) -> Desired | None:
        """wait_s: how long the server may wait for a change (less than the timeout)."""
        status, body = self._ask('GET', f'/v1/desired?wait_s={wait_s}', None,
                                 {'If-None-Match': f'"{known}"'})
        if status == 304:
            return None
        content = self._json(status, body)
        try:
            found = Desired(self._robot_id, int(content['revision']), str(content['release']),
                            str(content['assignment']))
        except (KeyError, TypeError, ValueError):
            raise RefusedError('the control plane\'s desired state cannot be read') from None
        if not is_digest(found.release):
            raise RefusedError('the control plane desires something that is no release')
        return found

    def post(self, reports: Sequence[Report]) -> list[Answer]:
        content = {'reports': [each.to_mapping() for each in reports]}
        answers: Any = self._json(*self._ask('POST', '/v1/reports', content)).get('answers', [])
        try:
            found = [Answer(int(each['sequence']), str(each['outcome']), str(each['reason']),
                            int(each['revision'])) for each in answers]
        except (KeyError, TypeError, ValueError):
            raise RefusedError('the control plane\'s answer cannot be read') from None
        if [each.sequence for each in found] != [each.sequence for each in reports]:
            raise RefusedError('the control plane answered other reports')
        return found

    def release(self, digest: str) -> bytes:
        status, body = self._ask('GET', f'/v1/releases/{digest}', None)
        if status != 200:
            raise RefusedError(_reason(status, body))
        return body

    def download(self, digest: str, path: str, target: Path, length: int) -> None:
        there = target.stat().st_size if target.exists() else 0
        self._login()
        headers = {'Authorization': f'Bearer {self._token}', 'Accept-Encoding': 'identity'}
        if there:
            headers['Range'] = f'bytes={there}-'
        with self._away():
            reply = self._pool.request('GET', f'{self._url}/v1/releases/{digest}/files/{path}',
                                       headers=headers, preload_content=False)
            try:
                if reply.status not in (200, 206):
                    if reply.status == 401:
                        self._token = ''
                    body = reply.read(4096)
                    if reply.status >= 500 or reply.status == 401:
                        raise AwayError(_reason(reply.status, body))
                    raise RefusedError(_reason(reply.status, body))
                got = there if reply.status == 206 else 0
                with open(target, 'ab' if got else 'wb') as stream:
                    while block := reply.read(min(_CHUNK, length - got + 1)):
                        got += len(block)
                        if got > length:
                            raise RefusedError(f'{path} is longer than {length} bytes')
                        stream.write(block)
            finally:
                reply.close()
        if got < length:
            raise AwayError(f'{path}: the connection ended after {got} of {length} bytes')

    def _ask(self, method: str, path: str, content: Any,
             headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        """With a token; a second time with a new one if the first has run out."""
        for attempt in range(2):
            self._login()
            status, body = self._send(method, path, content, (headers or {}) | {
                'Authorization': f'Bearer {self._token}'})
            if status != 401 or attempt:
                break
            self._token = ''
        if status >= 500 or status == 429:
            raise AwayError(_reason(status, body))
        if status == 401:
            raise RefusedError(_reason(status, body))
        return status, body

    def _login(self) -> None:
        if self._token:
            return
        asked = self._json(*self._send('POST', '/v1/challenge', {'robot_id': self._robot_id}))
        challenge = str(asked.get('challenge', ''))
        signed = self._key.sign(SESSION_PREFIX + f'{self._robot_id}\n{challenge}'.encode())
        reply = self._json(*self._send('POST', '/v1/session', {
            'robot_id': self._robot_id, 'challenge': challenge,
            'signature': base64.b64encode(signed).decode()}))
        self._token = str(reply.get('token', ''))
        if not self._token:
            raise RefusedError('the control plane gave no token')

    def _send(self, method: str, path: str, content: Any,
              headers: dict[str, str] | None = None) -> tuple[int, bytes]:
        body = None if content is None else json.dumps(content).encode()
        with self._away():
            reply = self._pool.request(
                method, self._url + path, body=body, preload_content=False, redirect=False,
                headers={'Content-Type': 'application/json'} | (headers or {}))
            try:
                read = reply.read(_MAX_REPLY + 1)
                if len(read) > _MAX_REPLY:
                    reply.close()
                    raise RefusedError(f'a reply of more than {_MAX_REPLY} bytes')
                return reply.status, read
            finally:
                reply.release_conn()

    @contextlib.contextmanager
    def _away(self) -> Any:
        try:
            yield
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise AwayError(f'{self._url}: {type(error).__name__}: '
                            f'{str(error)[:200]}') from error

    @staticmethod
    def _json(status: int, body: bytes) -> dict[str, Any]:
        if status >= 500:
            raise AwayError(_reason(status, body))
        if status != 200:
            raise RefusedError(_reason(status, body))
        try:
            content = json.loads(body)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise RefusedError('the control plane\'s reply is not JSON')
        return content


def _reason(status: int, body: bytes) -> str:
    try:
        text = str(json.loads(body)['error'])
    except (ValueError, KeyError, TypeError, RecursionError):
        text = body[:200].decode(errors='replace')
    return f'the control plane says {status}: {text[:300]}'
