"""Policies of a suite by name: a file on the disk, or one that is told the truth."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from policy_client.policies.base import Policy
from policy_client.policies.onnx import OnnxPolicy

from ..episode.careful import CarefulPolicy
from ..episode.drive import Witness

ONNX, CAREFUL = 'onnx', 'careful'


class PolicyNameError(ValueError):
    """A policy's name is none, or its file is not there; the message says which."""


@dataclass(frozen=True)
class PolicyName:
    """`onnx:FILE`, or `careful:FILE`: the same path, driven by the expert that sees people.

    A bare FILE is an `onnx` one.
    """

    kind: str
    file: Path

    @classmethod
    def parse(cls, text: str) -> 'PolicyName':
        kind, colon, file = text.partition(':')
        if not colon:
            kind, file = ONNX, text
        if kind not in (ONNX, CAREFUL):
            raise PolicyNameError(f'policy {text!r}: must be onnx:FILE or careful:FILE')
        path = Path(file).expanduser().resolve()
        if not path.is_file():
            raise PolicyNameError(f'policy {text!r}: there is no file {path}')
        return cls(kind, path)

    def __str__(self) -> str:
        return f'{self.kind}:{self.file}'

    def digest(self) -> str:
        """sha256 of the file."""
        return hashlib.sha256(self.file.read_bytes()).hexdigest()

    def open(self) -> tuple[Policy, tuple[Witness, ...]]:
        """The policy, and whoever has to be shown the world for it."""
        policy: Policy = OnnxPolicy(self.file)
        if self.kind == ONNX:
            return policy, ()
        careful = CarefulPolicy(policy)
        return careful, (careful,)
