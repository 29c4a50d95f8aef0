"""`./dev train`: render, train, export, evaluate, report.

Rendering and evaluation run here, in the ROS environment, which has the embedded world; training
and export run in the environment that SPINAL_TRAIN_ENV names, which has JAX.
"""

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from flywheel.amr_policy import wire
from flywheel.amr_policy.language import check_vocabulary

PACKAGE = Path(__file__).resolve().parents[2]


class TrainError(RuntimeError):
    """A step cannot go on; the message says which and what to do."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='./dev train', description="Train the repository's own policy, with its report.")
    parser.add_argument('--frames', type=int, default=8000, help='rendered poses (8000)')
    parser.add_argument('--sessions', type=int, default=40, help='drawn aisles (40)')
    parser.add_argument('--steps', type=int, default=8000, help='training steps (8000)')
    parser.add_argument('--drives', type=int, default=20, help='evaluation drives each (20)')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--reuse', action='store_true', help='take the frames of the last call')
    parser.add_argument('--evaluate-only', action='store_true',
                        help='evaluate the model that is there, write the report anew')
    return parser


def _jax(module: str, *arguments: str | Path) -> str:
    """Run a module in the training environment, echo what it says, and return its last line."""
    home = os.environ.get('SPINAL_TRAIN_ENV')
    if not home or not Path(home, 'bin', 'python').exists():
        raise TrainError('SPINAL_TRAIN_ENV names no environment; run this as ./dev train')
    # The ROS bundle's own packages must not shadow the training environment's.
    kept = {name: value for name, value in os.environ.items()
            if name not in ('PYTHONPATH', 'LD_LIBRARY_PATH')}
    command = [Path(home, 'bin', 'python'), '-m', f'flywheel.amr_policy.{module}', *arguments]
    last = ''
    with subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, text=True,
                          env={**kept, 'PYTHONPATH': str(PACKAGE)}) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                print(line, end='', flush=True)
                last = line.strip() or last
        except BaseException:
            process.terminate()
            raise
    if process.returncode:
        raise TrainError(f'the {module} step failed with status {process.returncode}')
    return last


def _frames(root: Path, options: argparse.Namespace) -> dict[str, Any]:
    from flywheel.amr_policy import render

    folder = root / wire.DATA / 'camera'
    record = folder / 'made.json'
    if options.reuse and record.exists():
        return json.loads(record.read_text(encoding='utf-8'))
    if why := render.available(root):
        raise TrainError(f'the network would never see a picture: {why}')
    began = time.monotonic()
    record.unlink(missing_ok=True)      # half-written frames are never taken for whole ones
    render.render(root, options.frames, options.sessions, options.seed).save(folder)
    made = {'frames': options.frames, 'sessions': options.sessions, 'seed': options.seed,
            'seconds': round(time.monotonic() - began, 1)}
    record.write_text(json.dumps(made), encoding='utf-8')
    return made


def _train(root: Path, options: argparse.Namespace) -> None:
    """Frames, parameters, and the model in its place; the records stay beside the frames."""
    out = root / wire.DATA
    made = _frames(root, options)
    _jax('train', out / 'camera', out, '--steps', str(options.steps), '--seed', str(options.seed))
    exported = json.loads(_jax('export', out / 'parameters.npz', root / wire.MODEL))
    (out / 'record.json').write_text(json.dumps({'data': made, 'export': exported}),
                                     encoding='utf-8')


def _report(root: Path, options: argparse.Namespace) -> None:
    from flywheel.amr_policy import evaluate, report

    out, model = root / wire.DATA, root / wire.MODEL
    try:
        record = json.loads((out / 'record.json').read_text(encoding='utf-8'))
        history = json.loads((out / 'history.json').read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise TrainError(f'{error.filename} is missing: nothing was trained here yet') from error
    data = model.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != record['export']['sha256']:
        raise TrainError(f'{wire.MODEL} is not the model that was trained here; train again')
    found, tracks = evaluate.evaluate(root, model, options.drives, options.seed)
    metrics = {
        'schema_version': 1,
        'model': {'file': str(wire.MODEL), 'bytes': len(data), 'sha256': sha256,
                  'jax_difference': record['export']['jax_difference']},
        'data': record['data'],
        'training': {**{name: history[name] for name in ('steps', 'seed', 'seconds')},
                     'test_loss': dict(zip(('live', 'masked', 'lane'), history['test'][-1],
                                           strict=True))},
        **found}
    report.write(root / wire.REPORT, metrics, history, tracks)
    print(f'report: {wire.REPORT}/report.md')


def main() -> int:
    options = _parser().parse_args()
    root = Path(os.environ.get('SPINAL_ROOT', '.')).resolve()
    try:
        check_vocabulary(root / wire.VOCABULARY)
        if not options.evaluate_only:
            _train(root, options)
        _report(root, options)
    except (TrainError, ValueError, OSError) as error:
        print(f'train: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print('train: interrupted; the model in place is whole', file=sys.stderr)
        return 130
    return 0


if __name__ == '__main__':
    sys.exit(main())
