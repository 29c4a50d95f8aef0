"""Releases, keys and gate records for tests: real signatures over small files."""

import hashlib
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from flywheel.release import manifest as manifests
from flywheel.release.manifest import Approval, Artifact, Manifest, Release
from isaac_bridge.suite import record

MADE = '2026-01-02T03:04:05Z'
KEY_ID = 'release-2026'


def key_pair() -> tuple[bytes, bytes]:
    """Private and public Ed25519 key, PEM."""
    key = Ed25519PrivateKey.generate()
    return (key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def gate_record(candidate_sha256: str, private_key: bytes, *, passed: bool = True,
                run_id: str = 'gate-7') -> bytes:
    """A signed gate record about a file with this digest."""
    rate = {'value': 1.0, 'low': 0.9, 'high': 1.0}
    content = {
        'schema_version': 1, 'run_id': run_id, 'made': MADE, 'software': {},
        'suite': {'name': 'amr', 'sha256': 'a' * 64, 'margin': 0.05, 'confidence': 0.95,
                  'scenarios': {'aisle': 1}},
        'candidate': {'kind': 'onnx', 'file': 'model.onnx', 'sha256': candidate_sha256},
        'base': {'kind': 'onnx', 'file': 'model.onnx', 'sha256': 'b' * 64},
        'verdict': {'passed': passed, 'reasons': [] if passed else ['worse in the aisle'],
                    'touched_in_motion': 0},
        'comparison': {'episodes': 1, 'both': 1, 'candidate_only': 0, 'base_only': 0,
                       'neither': 0, 'candidate_rate': rate, 'base_rate': rate,
                       'difference': rate, 'p_value': 1.0, 'smallest_effect': 0.5},
        'cases': [], 'case_files': {}, 'episodes': []}
    record.check(content, 'the gate record')
    return record.sign(record.to_bytes(content), private_key, 'gate')


class Maker:
    """Makes releases of one model in a folder, with keys of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.private_key, self.public_key = key_pair()
        self.gate_private_key, self.gate_public_key = key_pair()
        self.keys = {KEY_ID: self.public_key}

    def files(self, version: int, content: bytes = b'') -> Path:
        folder = self.folder / f'files-{version}'
        (folder / 'orin').mkdir(parents=True, exist_ok=True)
        (folder / 'model.onnx').write_bytes(content or b'network %d' % version)
        (folder / 'model.py').write_bytes(b'# version %d\n' % version)
        (folder / 'orin' / 'engine.plan').write_bytes(b'engine %d' % version * 1000)
        return folder

    def release(self, version: int = 2, *, base: str | None = None, content: bytes = b'',
                passed: bool = True, **changes) -> tuple[Release, Path, bytes]:
        """A signed release, the folder with its files, its gate record."""
        folder = self.files(version, content)
        checkpoint = hashlib.sha256((folder / 'model.onnx').read_bytes()).hexdigest()
        gate = gate_record(checkpoint, self.gate_private_key, passed=passed)
        made = Manifest(
            'amr', version, MADE, 'run-7', checkpoint, 'd' * 64, 'e' * 64,
            (Artifact('cloud', 'triton', manifests.describe(folder, ['model.py', 'model.onnx'])),
             Artifact('orin_nano', 'onnx', manifests.describe(folder, ['model.onnx'])),
             Artifact('agx_orin', 'tensorrt', manifests.describe(folder, ['orin/engine.plan']))),
            hashlib.sha256(gate).hexdigest(), 'gate-7', 'aisle-3', 'f' * 64, ('case-1', 'case-2'),
            base, Approval('Ada', MADE, 'passes the aisle'))
        return (manifests.sign(replace(made, **changes), self.private_key, KEY_ID), folder, gate)
