"""./dev VERB: prepare what the verb needs, then become it."""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from spinal_dev import debian, doctor
from spinal_dev.environments import ensure, lock, python, site_packages
from spinal_dev.node import ensure_node
from spinal_dev.paths import ROOT, STATE
from spinal_dev.steps import DevError, exclusive
from spinal_dev.workspace import ensure_workspace


def main(arguments: list[str]) -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    options, rest = _parser().parse_known_args(arguments)
    options.rest = rest
    try:
        return options.run(options)
    except DevError as error:
        print(f'./dev: {error}', file=sys.stderr)
        return 1
    except OSError as error:
        what = 'the disk is full; free some space' if error.errno == 28 else str(error)
        print(f'./dev: {what}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('\n./dev: interrupted; run it again and it goes on from there', file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./dev', description='Spinal: everything a developer or a robot desk needs, in verbs.')
    verbs = parser.add_subparsers(metavar='VERB', required=True)

    def verb(name: str, run: Callable[[argparse.Namespace], int], text: str) -> None:
        verbs.add_parser(name, help=text, add_help=False).set_defaults(run=run)

    verb('demo', _demo, 'drive, stop for a person, fall back, record, upload; writes a report')
    verb('test', _test, 'build, lint, unit tests, launch tests')
    verb('bench', _bench, 'bench [NAME] [--json FILE] [--long]: figures beside their floors')
    verb('launch', _launch, 'launch TARGET [name:=value ..]: ros2 launch of one target')
    verb('replay', _replay, 'replay FILE: a bag or a lidar log through the reflex; --policy, or '
         '--triggers RULES')
    verb('cases', _cases, 'cases [--spool DIR] [--watch | --json]: what is spooled, sent, failed')
    verb('triton', _triton, 'a real Triton on this CPU: [--model NAME | --embodiment FILE]')
    verb('train', _train, 'train the repository\'s own policy again, with its report')
    verb('shell', _shell, 'a shell with ROS and the workspace sourced, or one command in it')
    verb('lock', _lock, 'resolve tools/locks/*.in anew (maintainers)')
    doctor_parser = verbs.add_parser('doctor', help='what this machine has and lacks')
    doctor_parser.add_argument('--install', action='store_true',
                               help='install the missing Debian packages (as root)')
    doctor_parser.set_defaults(run=lambda options: doctor.run(options.install))
    return parser


def _become(command: list[str | Path], env: dict[str, str]) -> int:
    """Replace this process, so that signals and the exit status are the verb's own."""
    sys.stdout.flush()
    os.execvpe(str(command[0]), [str(part) for part in command], env)


def _system_packages(for_tests: bool) -> None:
    lacking = debian.missing(for_tests)
    if not lacking:
        return
    if os.geteuid() == 0:
        try:
            debian.install(lacking)
            return
        except DevError as error:
            print(f'./dev: going on without Debian packages: {error}', file=sys.stderr)
    for package in lacking:
        print(f'./dev: without {package.name} you lose {package.gives}', file=sys.stderr)
    print(f'./dev: to have it: {debian.install_line(lacking)}', file=sys.stderr)


def _prepared(*environments: str, for_tests: bool = False) -> dict[str, str]:
    """The sourced workspace, with the named further environments made and pointed to."""
    _system_packages(for_tests)
    variables = ensure_workspace()
    with exclusive():
        for name in environments:
            variables[f'SPINAL_{name.upper()}_ENV'] = str(ensure(name))
    variables['SPINAL_ROOT'] = str(ROOT)
    variables.setdefault('ROS_LOG_DIR', str(STATE / 'log' / 'ros'))
    return variables


def _demo(options: argparse.Namespace) -> int:
    env = _prepared('triton')
    return _become([python('ros'), '-m', 'bringup.demo', *options.rest], env)


def _test(options: argparse.Namespace) -> int:
    env = _prepared('triton', 'train', 'isaac', 'physx', for_tests=True)
    # Read by the static gate of isaac_bridge, never imported.
    env['ISAACSIM_WHEELS'] = str(site_packages('isaac'))
    # Behind everything else: the engine brings packages that others have too.
    env['PYTHONPATH'] = f'{env["PYTHONPATH"]}:{site_packages("physx")}'
    try:
        with exclusive():
            env['SPINAL_NODE_ENV'] = str(ensure_node())
    except DevError as error:
        print(f'./dev: going on without the readers from npm: {error}', file=sys.stderr)
    return _become([python('ros'), ROOT / 'tests' / 'run_all.py', *options.rest], env)


def _bench(options: argparse.Namespace) -> int:
    env = _prepared('triton')
    return _become([python('ros'), ROOT / 'tests' / 'bench', *options.rest], env)


def _launch(options: argparse.Namespace) -> int:
    if not options.rest or options.rest[0].startswith('-'):
        targets = ', '.join(sorted(p.stem for p in (ROOT / 'config/targets').glob('*.yaml')))
        raise DevError(f'launch which target? One of: {targets}')
    target, *rest = options.rest
    if not (ROOT / 'launch' / f'{target}.launch.py').exists():
        raise DevError(f'there is no launch/{target}.launch.py')
    return _become(['ros2', 'launch', 'bringup', f'{target}.launch.py', *rest], _prepared('triton'))


def _replay(options: argparse.Namespace) -> int:
    rules = any(each.split('=')[0] == '--triggers' for each in options.rest)
    module = 'edge_case_recorder.trigger_replay' if rules else 'bringup.replay'
    return _become([python('ros'), '-m', module, *options.rest], _prepared())


def _cases(options: argparse.Namespace) -> int:
    return _become([python('ros'), '-m', 'edge_case_recorder.cases', *options.rest], _prepared())


def _triton(options: argparse.Namespace) -> int:
    return _become([python('ros'), '-m', 'policy_client.desk_triton', *options.rest],
                   _prepared('triton'))


def _train(options: argparse.Namespace) -> int:
    return _become([python('ros'), '-m', 'flywheel.amr_policy', *options.rest], _prepared('train'))


def _lock(options: argparse.Namespace) -> int:
    lock()
    return 0


def _shell(options: argparse.Namespace) -> int:
    env = _prepared()
    if options.rest:
        return _become(options.rest, env)
    env['PS1'] = '(spinal) \\w$ '
    return _become([env.get('SHELL', 'bash'), *(['--norc'] if env.get('SHELL', 'bash')
                                                .endswith('bash') else [])], env)


sys.exit(main(sys.argv[1:]))
