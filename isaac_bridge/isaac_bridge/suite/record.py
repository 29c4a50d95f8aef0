"""The gate record: what was compared, on what, and the verdict, as a document that can be signed.

Signed as a DSSE envelope (github.com/secure-systems-lab/dsse, protocol 1.0.2): the signature is
over the record's very bytes and their type, so nothing has to be brought into a canonical form.
"""

import base64
import binascii
import dataclasses
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from ..episode.drive import Episode
from .plan import Entry, Suite
from .policies import PolicyName
from .verdict import Verdict

SCHEMA_VERSION = 1
PAYLOAD_TYPE = 'application/vnd.spinal.gate-record+json'
MAX_BYTES = 20_000_000
Record = dict[str, Any]


class RecordError(ValueError):
    """A gate record, its signature or a key is not what it must be; the message says which."""


def record(suite: Suite, cases: tuple[Entry, ...], candidate: PolicyName, base: PolicyName,
           verdict: Verdict, candidates: Mapping[tuple[str, int], Episode],
           bases: Mapping[tuple[str, int], Episode], *, run_id: str, made: str,
           software: Mapping[str, str]) -> Record:
    """made: UTC, ISO 8601. Raises RecordError when it breaks its schema."""
    comparison = verdict.comparison
    content: Record = {
        'schema_version': SCHEMA_VERSION, 'run_id': run_id, 'made': made,
        'software': dict(software),
        'suite': {'name': suite.name, 'sha256': suite.digest, 'margin': suite.margin,
                  'confidence': suite.confidence,
                  'scenarios': {entry.scenario.name: len(entry.seeds) for entry in suite.entries}},
        'candidate': {'kind': candidate.kind, 'file': candidate.file.name,
                      'sha256': candidate.digest()},
        'base': {'kind': base.kind, 'file': base.file.name, 'sha256': base.digest()},
        'verdict': {'passed': verdict.passed, 'reasons': list(verdict.reasons),
                    'touched_in_motion': verdict.touched},
        'comparison': {
            **dataclasses.asdict(comparison.pairs),
            'episodes': comparison.pairs.n,
            'candidate_rate': _rate(comparison.pairs.candidate_rate, comparison.candidate),
            'base_rate': _rate(comparison.pairs.base_rate, comparison.base),
            'difference': _rate(comparison.pairs.difference, comparison.difference),
            'p_value': comparison.p_value, 'smallest_effect': comparison.smallest_effect},
        'cases': [dataclasses.asdict(case) | {'improved': case.improved}
                  for case in verdict.cases],
        'case_files': {entry.file.name: entry.digest() for entry in cases},
        'episodes': [{'scenario': name, 'seed': seed,
                      'candidate': _episode(candidates[name, seed]),
                      'base': _episode(bases[name, seed])} for name, seed in sorted(candidates)],
    }
    return check(content, 'the gate record')


def check(content: Any, name: str) -> Record:
    """The record itself if it holds to the schema; raises RecordError."""
    problem = best_match(_validator().iter_errors(content))
    if problem is not None:
        where = problem.json_path.removeprefix('$').removeprefix('.') or 'document'
        raise RecordError(f'{name}: {where}: {problem.message[:300]}')
    return content


def to_bytes(content: Record) -> bytes:
    return (json.dumps(content, indent=1, allow_nan=False) + '\n').encode()


def sign(payload: bytes, private_key_pem: bytes, key_id: str) -> bytes:
    """An envelope with the bytes of a record in it. Raises RecordError for another kind of key."""
    try:
        key = load_pem_private_key(private_key_pem, None)
    except (ValueError, TypeError) as error:
        raise RecordError(f'the private key cannot be read: {error}') from None
    if not isinstance(key, Ed25519PrivateKey):
        raise RecordError('the private key is not an Ed25519 one')
    envelope = {'payload': base64.b64encode(payload).decode(), 'payloadType': PAYLOAD_TYPE,
                'signatures': [{'keyid': key_id, 'sig': base64.b64encode(
                    key.sign(_encoded(payload))).decode()}]}
    return (json.dumps(envelope) + '\n').encode()


def verified(envelope: bytes, public_key_pem: bytes) -> Record:
    """The record in an envelope that this key has signed; raises RecordError."""
    if len(envelope) > MAX_BYTES:
        raise RecordError(f'an envelope of {len(envelope)} bytes: {MAX_BYTES} are allowed')
    try:
        key = load_pem_public_key(public_key_pem)
    except ValueError as error:
        raise RecordError(f'the public key cannot be read: {error}') from None
    if not isinstance(key, Ed25519PublicKey):
        raise RecordError('the public key is not an Ed25519 one')
    try:
        content = json.loads(envelope)
        payload = base64.b64decode(content['payload'], validate=True)
        signatures = [base64.b64decode(one['sig'], validate=True)
                      for one in content['signatures']]
        kind = content['payloadType']
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        raise RecordError('the envelope is none (DSSE, JSON)') from None
    if kind != PAYLOAD_TYPE:
        raise RecordError(f'the envelope holds {kind!r}, not a gate record')
    if not any(_is_signed(key, signature, payload) for signature in signatures):
        raise RecordError('the signature is not of this key, or the record was changed')
    return check(json.loads(payload), 'the gate record')


def _is_signed(key: Ed25519PublicKey, signature: bytes, payload: bytes) -> bool:
    try:
        key.verify(signature, _encoded(payload))
    except InvalidSignature:
        return False
    return True


def _encoded(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    kind = PAYLOAD_TYPE.encode()
    return b'DSSEv1 %d %s %d %s' % (len(kind), kind, len(payload), payload)


def _rate(value: float, interval: Any) -> dict[str, float]:
    return {'value': value, 'low': interval.low, 'high': interval.high}


def _episode(episode: Episode) -> dict[str, Any]:
    return {
        'success': episode.success, 'broken': episode.broken, 'seconds': round(episode.seconds, 3),
        'stops': episode.stops, 'latched': episode.latched,
        'contacts': len(episode.contacts), 'path_m': round(episode.path_m, 3),
        'min_clearance_m': round(episode.min_clearance_m, 3)
        if episode.min_clearance_m != float('inf') else None,
        'fallback_share': round(episode.fallback_share, 4), 'digest': episode.digest}


@cache
def _validator() -> Draft202012Validator:
    schema = files('isaac_bridge').joinpath('schemas', 'gate_record.schema.json')
    return Draft202012Validator(json.loads(schema.read_text('utf-8')))
