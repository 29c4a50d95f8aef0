"""Signed documents: DSSE envelopes (github.com/secure-systems-lab/dsse, protocol 1.0.2), Ed25519.

The shape is that of the gate record (isaac_bridge.suite.record); the type of what is signed is part
of what is signed, so that no document passes for another kind.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

from .errors import ReleaseError

MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class Verified:
    """payload: the very bytes that were signed. key_id: whose signature it was."""
    payload: bytes
    key_id: str


def sign(payload: bytes, payload_type: str, private_key_pem: bytes, key_id: str) -> bytes:
    """The envelope, JSON with a newline at its end. Raises ReleaseError for another key."""
    try:
        key = load_pem_private_key(private_key_pem, None)
    except (ValueError, TypeError) as error:
        raise ReleaseError(f'the private key cannot be read: {error}') from None
    if not isinstance(key, Ed25519PrivateKey):
        raise ReleaseError('the private key is not an Ed25519 one')
    signature = base64.b64encode(key.sign(_encoded(payload, payload_type))).decode()
    return (json.dumps({'payload': base64.b64encode(payload).decode(),
                        'payloadType': payload_type,
                        'signatures': [{'keyid': key_id, 'sig': signature}]}) + '\n').encode()


def verify(envelope: bytes, payload_type: str, public_keys: Mapping[str, bytes]) -> Verified:
    """What one of the keys has signed; raises ReleaseError.

    public_keys: PEM by key id. A signature counts only under the key that it names.
    """
    if len(envelope) > MAX_BYTES:
        raise ReleaseError(f'an envelope of {len(envelope)} bytes: {MAX_BYTES} are allowed')
    try:
        content = json.loads(envelope)
        payload = base64.b64decode(content['payload'], validate=True)
        signatures = [(str(one['keyid']), base64.b64decode(one['sig'], validate=True))
                      for one in content['signatures'][:16]]
        kind = content['payloadType']
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise ReleaseError('the envelope is none (DSSE, JSON)') from None
    if kind != payload_type:
        raise ReleaseError(f'the envelope holds {str(kind)[:80]!r}, not {payload_type!r}')
    for key_id, signature in signatures:
        if key_id in public_keys and _signed(public_keys[key_id], signature, payload, kind):
            return Verified(payload, key_id)
    raise ReleaseError('no signature is of a known key, or the document was changed')


def _signed(public_key_pem: bytes, signature: bytes, payload: bytes, kind: str) -> bool:
    try:
        key = load_pem_public_key(public_key_pem)
    except ValueError as error:
        raise ReleaseError(f'a public key cannot be read: {error}') from None
    if not isinstance(key, Ed25519PublicKey):
        raise ReleaseError('a public key is not an Ed25519 one')
    try:
        key.verify(signature, _encoded(payload, kind))
    except InvalidSignature:
        return False
    return True


def _encoded(payload: bytes, payload_type: str) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = payload_type.encode()
    return b'DSSEv1 %d %s %d %s' % (len(kind), kind, len(payload), payload)
