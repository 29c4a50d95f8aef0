"""The gate's word on a release: its signed record, checked against the manifest."""

import hashlib

from isaac_bridge.suite import record

from .errors import ReleaseError
from .manifest import Manifest


def check_gate(manifest: Manifest, gate_envelope: bytes, gate_public_key_pem: bytes) -> None:
    """Raises ReleaseError unless this very record was signed, passed, and judged this release."""
    if hashlib.sha256(gate_envelope).hexdigest() != manifest.gate_sha256:
        raise ReleaseError('the gate record is not the one that the manifest names')
    try:
        content = record.verified(gate_envelope, gate_public_key_pem)
    except record.RecordError as error:
        raise ReleaseError(f'the gate record: {error}') from None
    if not content['verdict']['passed']:
        raise ReleaseError(f'the gate did not pass it: {"; ".join(content["verdict"]["reasons"])}')
    if content['run_id'] != manifest.gate_run_id:
        raise ReleaseError('the gate record is of another run')
    judged = content['candidate']['sha256']
    if judged not in {manifest.checkpoint_sha256, *(file.sha256 for file in manifest.files)}:
        raise ReleaseError(f'the gate judged another policy ({judged[:12]}): it is neither the '
                           'checkpoint nor a file of this release')
