"""ros2 run policy_client replay BAG: the recorded actions again, bit for bit, and a live policy's.

Exit status: 0 when every action and every observation that could be compared is equal, 1 when one
is different or damaged, 2 when nothing could be compared. What a live policy says is shown and
does not change the status.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from policy_client import embodiment_file
from policy_client.embodiment import Embodiment
from policy_client.exchange import Exchange
from policy_client.policies.base import Policy
from policy_client.policies.gr00t import Gr00tPolicy
from policy_client.policies.onnx import OnnxPolicy
from policy_client.policies.triton import TritonPolicy
from policy_client.replay import live
from policy_client.replay.bag import BagError
from policy_client.replay.comparison import compare
from policy_client.replay.observations import Observations
from policy_client.replay.playback import check_robot, key_of, play_back
from policy_client.replay.recording import Recording, complete, exchanges
from policy_client.replay.report import CANNOT_STATUS, Report
from policy_client.vocabulary import Vocabulary

EMBODIMENTS = Path('config/embodiments')
_NAME = re.compile(r'[A-Za-z0-9_-]{1,64}')


def main(arguments: Sequence[str] | None = None, *, prog: str = 'replay',
         embodiments: Path = EMBODIMENTS) -> int:
    """Replay a bag and print what was found; see the module for the exit status.

    Args:
        embodiments: the folder in which a robot's embodiment is looked for.
    """
    options = _options(arguments, prog, embodiments)
    try:
        report = _replayed(options, embodiments)
    except (ValueError, OSError) as error:
        Console(stderr=True).print(f'{prog}: {" ".join(str(error).split())}', style='red',
                                   markup=False, highlight=False, soft_wrap=True)
        return CANNOT_STATUS
    report.show(Console())
    return report.status


def _options(arguments: Sequence[str] | None, prog: str, embodiments: Path) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog=prog, description='Replay a bag through the policy client: the recorded actions bit '
        'for bit, and what a live policy would say.')
    parser.add_argument('bag', type=Path, help='a rosbag2 folder (a case is one), or an .mcap')
    parser.add_argument('--embodiment', type=Path, metavar='FILE',
                        help=f'of the robot (default: {embodiments}/<its name>.yaml)')
    parser.add_argument('--vocabulary', type=Path, metavar='FILE',
                        help='default: vocabulary.txt beside the embodiment')
    parser.add_argument('--namespace', metavar='NS', help='of the robot, where there are several')
    policy = parser.add_mutually_exclusive_group()
    policy.add_argument('--server', metavar='URL',
                        help='a live policy: grpc://host:port (Triton) or zmq://host:port (GR00T)')
    policy.add_argument('--onnx', type=Path, metavar='FILE', help='a live policy from a file')
    parser.add_argument('--model', metavar='NAME', help='on the server; default: as recorded')
    parser.add_argument('--model-version', default='', metavar='N', help='default: the newest')
    parser.add_argument('--plot', type=Path, metavar='PNG', help='recorded and live actions')
    parser.add_argument('--json', type=Path, metavar='FILE', help='what was found, for programs')
    return parser.parse_args(arguments)


def _replayed(options: argparse.Namespace, embodiments: Path) -> Report:
    told = exchanges(options.bag, options.namespace)
    first = next(one.exchange for one in told.exchanges if one.exchange)
    file = options.embodiment or _file_of(first, embodiments)
    embodiment = embodiment_file.load(file)
    vocabulary = Vocabulary.load(options.vocabulary or file.parent / 'vocabulary.txt')
    check_robot(told.exchanges, embodiment, file)
    recording = complete(options.bag, told, embodiment)
    playback = play_back(recording.exchanges, embodiment)
    report = Report(embodiment, recording, playback, compare(
        embodiment, playback.ticks, playback.missed, recording.commands))
    policy = _policy(options, embodiment, recording)
    try:
        if policy is not None:
            report.live = live.meet(policy, embodiment, vocabulary,
                                    strict=isinstance(policy, TritonPolicy))
        _look(report, vocabulary, policy)
    finally:
        if policy is not None:
            policy.close()
    if report.live:
        report.live_playback = play_back(recording.exchanges, embodiment,
                                         instead=report.live.rows, begins=playback.begins)
    if options.plot:
        _draw(options.plot, report)
    if options.json:
        options.json.write_text(json.dumps(report.document(), indent=1) + '\n')
    return report


def _look(report: Report, vocabulary: Vocabulary, policy: Policy | None) -> None:
    """Rebuild and compare each observation, and show it to the live policy."""
    observations = Observations(report.embodiment, vocabulary, report.recording)
    with Progress(console=Console(stderr=True), transient=True) as progress:
        for index, told in progress.track(list(enumerate(report.recording.exchanges)),
                                          description='observations'):
            if told.exchange is None or not told.exchange.inputs_crc32:
                continue
            plan = report.playback.plans.get(key_of(told.exchange))
            rebuilt = observations.rebuilt(told.exchange, plan)
            report.saw(rebuilt)
            if policy is not None and report.live:
                live.ask(report.live, policy, report.embodiment, observations, index, told,
                         rebuilt, plan)


def _policy(options: argparse.Namespace, embodiment: Embodiment,
            recording: Recording) -> Policy | None:
    if options.onnx:
        return OnnxPolicy(options.onnx)
    if not options.server:
        return None
    if options.server.startswith('zmq:'):
        return Gr00tPolicy(options.server, embodiment)
    model = options.model or next((one.exchange.model for one in recording.exchanges
                                   if one.exchange and one.exchange.model), '')
    if not model:
        raise BagError('the bag does not say which model was asked: name it with --model')
    return TritonPolicy(options.server, model, options.model_version)


def _file_of(exchange: Exchange, embodiments: Path) -> Path:
    name = exchange.robot.get('embodiment')
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BagError(f'the bag does not say whose it is (embodiment = {str(name)[:60]!r}): name '
                       'the file with --embodiment')
    file = embodiments / f'{name}.yaml'
    if not file.is_file():
        raise BagError(f'there is no {file}: name the embodiment with --embodiment')
    return file


def _draw(path: Path, report: Report) -> None:
    if not report.playback.ticks:
        raise BagError('no tick could be replayed: there is nothing to draw')
    from policy_client.replay.plot import draw  # slow to import
    live_ticks = report.live_playback.ticks if report.live_playback else None
    draw(path, report.embodiment, report.recording.commands, report.playback.ticks, live_ticks,
         report.live.model.runs_on if report.live else '')


if __name__ == '__main__':
    sys.exit(main())
