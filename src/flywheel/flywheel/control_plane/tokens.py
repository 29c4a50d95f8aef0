"""Who speaks: a robot signs a challenge with its own key and gets a token for a while. Pure.

Why not mutual TLS: a load balancer or ingress ends it, uvicorn does not hand a client's certificate
on, and certificates would have to be issued, renewed on robots that are away for weeks, and revoked
by lists. Why not tokens that robots sign themselves: they carry times, and a robot's clock may be
wrong by days. Here the server's clock alone counts; it keeps public keys only, and nothing per
session.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

CHALLENGE_MS = 60_000
SESSION_MS = 600_000
_PREFIX = b'spinal robot session\n'
_MAX_CHARS = 512


class TokenError(ValueError):
    """Not a token of ours, or one that has run out."""


@dataclass(frozen=True)
class Tokens:
    """secret: 32 bytes or more, the same in each replica and over restarts."""
    secret: bytes

    def __post_init__(self) -> None:
        if len(self.secret) < 32:
            raise ValueError('the control plane\'s secret has less than 32 bytes')

    def challenge(self, robot_id: str, now_ms: int) -> str:
        return self._make('challenge', robot_id, now_ms + CHALLENGE_MS)

    def session(self, robot_id: str, challenge: str, signature: str, public_key_pem: str,
                now_ms: int) -> str:
        """A session's token for whoever signed our challenge with that robot's key; TokenError."""
        if self._read('challenge', challenge, now_ms)[0] != robot_id:
            raise TokenError('the challenge was another robot\'s')
        try:
            key = load_pem_public_key(public_key_pem.encode())
            if not isinstance(key, Ed25519PublicKey):
                raise TokenError('the robot\'s key is not an Ed25519 one')
            key.verify(base64.b64decode(signature, validate=True),
                       _PREFIX + f'{robot_id}\n{challenge}'.encode())
        except (InvalidSignature, ValueError, binascii.Error):
            raise TokenError('the challenge is not signed with the robot\'s key') from None
        return self._make('session', robot_id, now_ms + SESSION_MS)

    def robot(self, token: str, now_ms: int) -> tuple[str, int]:
        """Whose session it is, and until when (ms of the server's clock); TokenError."""
        return self._read('session', token, now_ms)

    def _make(self, kind: str, robot_id: str, until_ms: int) -> str:
        content = f'{kind}|{robot_id}|{until_ms}|{secrets.token_hex(8)}'.encode()
        return f'{_encode(content)}.{_encode(self._mac(content))}'

    def _read(self, kind: str, token: str, now_ms: int) -> tuple[str, int]:
        content, _, mac = token.partition('.')
        try:
            if len(token) > _MAX_CHARS:
                raise ValueError
            decoded = base64.urlsafe_b64decode(content.encode('ascii'))
            given = base64.urlsafe_b64decode(mac.encode('ascii'))
        except (ValueError, binascii.Error):
            raise TokenError('the token is none') from None
        if not hmac.compare_digest(given, self._mac(decoded)):
            raise TokenError('the token is none of ours')
        found, robot_id, until_ms, _ = decoded.decode().split('|')
        if found != kind:
            raise TokenError(f'the token is for a {found}')
        if now_ms > int(until_ms):
            raise TokenError(f'the {kind} has run out')
        return robot_id, int(until_ms)

    def _mac(self, content: bytes) -> bytes:
        return hmac.digest(self.secret, content, hashlib.sha256)


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode()
