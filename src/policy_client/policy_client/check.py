"""`ros2 run policy_client check`: would this robot take that model? Key by key, before it moves."""

import argparse
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from policy_client import embodiment_file
from policy_client.embodiment import Embodiment
from policy_client.handshake import HandshakeError, ModelDescription, Signature, compare
from policy_client.observation import blank
from policy_client.policies.base import Policy, PolicyUnavailable, Request
from policy_client.policies.gr00t import Gr00tPolicy
from policy_client.policies.onnx import OnnxPolicy
from policy_client.policies.triton import TritonPolicy
from policy_client.reply import ChunkRejected, checked
from policy_client.vocabulary import Vocabulary

_HANDSHAKE_S = 1.0
_INFERENCE_NS = 5_000_000_000
_INFERENCES = 5
_TOLERANCE = 0.05


def rows(embodiment: Embodiment, model: ModelDescription,
         mismatches: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """(key, what it is on the robot, the model's tensor, what does not fit), one for each key."""
    tensors = {tensor.name: f'{tensor.datatype} {list(tensor.shape)}'
               + (', optional' if tensor.optional else '')
               for tensor in (*model.inputs, *model.outputs)}
    robot = _wiring(embodiment)
    names = dict.fromkeys([*robot, *tensors, *(text.partition(':')[0] for text in mismatches)])
    wrong: dict[str, list[str]] = {}
    for text in mismatches:
        name, _, sentence = text.partition(': ')
        wrong.setdefault(name, []).append(sentence)
    return [(name, robot.get(name, ''), tensors.get(name, model.parameters.get(name, '')),
             '; '.join(wrong.get(name, []))) for name in names]


def _wiring(embodiment: Embodiment) -> Mapping[str, str]:
    """Key -> the topic that feeds it, or that it drives."""
    found = {key.name: f'from {key.topic}' for key in embodiment.video}
    for state in embodiment.state:
        found[state.name] = f'from {state.topic}, D = {len(state.components)}'
    found[embodiment.language.name] = f'from {embodiment.language.topic}'
    for action in embodiment.actions:
        found[action.name] = (f'drives {action.topic}, D = {len(action.components)}, '
                              f'{action.meaning}')
    return found


def _policy(options: argparse.Namespace, embodiment: Embodiment) -> Policy:
    if options.onnx:
        return OnnxPolicy(options.onnx)
    if options.endpoint.startswith('zmq:'):
        return Gr00tPolicy(options.endpoint, embodiment)
    return TritonPolicy(options.endpoint, options.model, options.version)


def _try(policy: Policy, embodiment: Embodiment, signature: Signature) -> tuple[str, bool]:
    """A few inferences on an all-zero observation: what to say of them, and whether all went."""
    times = []
    for _ in range(_INFERENCES):
        request = Request(f'check/{uuid.uuid4().hex[:8]}', blank(embodiment, signature),
                          _INFERENCE_NS)
        reply = policy.infer(request).result(2 * _INFERENCE_NS / 1e9)
        if reply.failure is not None:
            return f'inference failed: {reply.failure}: {reply.detail}', False
        try:
            checked(reply.actions, embodiment, signature.horizon, _TOLERANCE)
        except ChunkRejected as rejected:
            return f'its answer would be refused: {rejected}', False
        if reply.version != signature.version:
            return f'its answer is of version {reply.version!r}', False
        times.append(reply.elapsed_ns / 1e6)
    return f'{_INFERENCES} inferences: {", ".join(f"{ms:.1f}" for ms in times)} ms', True


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the robot would take the model; 1: it would not; 2: wrong arguments or no server."""
    parser = argparse.ArgumentParser(prog='check', description=__doc__)
    parser.add_argument('--embodiment', type=Path, required=True, metavar='FILE')
    parser.add_argument('--vocabulary', type=Path, metavar='FILE',
                        help='default: vocabulary.txt beside the embodiment')
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument('--endpoint', metavar='URL', help='grpc://, grpcs:// or zmq://, with options'
                       ' as the parameter `endpoints` takes them')
    where.add_argument('--onnx', type=Path, metavar='FILE')
    parser.add_argument('--model', default='groot', help='on a Triton (default: groot)')
    parser.add_argument('--version', default='', help='the version that the robot is pinned to')
    options = parser.parse_args(arguments)
    try:
        embodiment = embodiment_file.load(options.embodiment)
        vocabulary = Vocabulary.load(options.vocabulary
                                     or options.embodiment.parent / 'vocabulary.txt')
        policy = _policy(options, embodiment)
    except ValueError as error:
        print(f'check: {error}', file=sys.stderr)
        return 2
    try:
        return _check(policy, embodiment, vocabulary, options)
    finally:
        policy.close()


def _check(policy: Policy, embodiment: Embodiment, vocabulary: Vocabulary,
           options: argparse.Namespace) -> int:
    started = time.monotonic()
    try:
        model = policy.handshake(_HANDSHAKE_S)
    except PolicyUnavailable as error:
        print(f'check: {error}', file=sys.stderr)
        return 2
    mismatches: tuple[str, ...] = ()
    try:
        strict = isinstance(policy, TritonPolicy)
        signature = compare(embodiment, vocabulary, model, parameters_required=strict,
                            version=options.version)
    except HandshakeError as error:
        mismatches = error.mismatches
    took_ms = (time.monotonic() - started) * 1e3
    console = Console(width=None if sys.stdout.isatty() else 160)
    table = Table(title=f'{embodiment.name} and {model.name} {model.version} on {model.runs_on}',
                  box=None, pad_edge=False, title_justify='left')
    for heading in ('key', 'robot', 'model', 'does not fit'):
        table.add_column(heading, overflow='fold')
    for row in rows(embodiment, model, mismatches):
        table.add_row(*row[:3], f'[red]{row[3]}[/red]' if row[3] else '')
    console.print(table)
    if mismatches:
        print(f'refused in {took_ms:.0f} ms: {len(mismatches)} mismatches')
        return 1
    said, good = _try(policy, embodiment, signature)
    print(f'fits, in {took_ms:.0f} ms: H = {signature.horizon}, real-time chunking '
          f'{"yes" if signature.takes_prefix else "no"}; {said}')
    return 0 if good else 1


if __name__ == '__main__':
    sys.exit(main())
