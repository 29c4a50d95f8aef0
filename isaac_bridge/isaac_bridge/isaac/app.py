"""The standalone application: Isaac Sim, and the same ROS 2 front end as over every other engine.

    ./python.sh -m isaac_bridge.isaac --scenario config/scenarios/aisle.yaml \\
        --robot config/robots/amr.yaml [--rtx] [--backdrop pack.json] [--ros-args ..]
"""

import argparse
import os
import sys
from pathlib import Path

from ..world import WorldError
from . import graph
from .assets import ROOT_VARIABLE, AssetError, Cache, asset_root, default_cache, read_pack
from .session import Options, setting, show, start, stop


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog='isaac_bridge.isaac', description=__doc__,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument('--scenario', required=True, help='a YAML file of config/scenarios')
    made.add_argument('--robot', required=True, help='a YAML file of config/robots')
    made.add_argument('--seed', type=int, default=0)
    made.add_argument('--window', action='store_true', help='with a window; else headless')
    made.add_argument('--gpu', type=int, default=0)
    made.add_argument('--camera', choices=('auto', 'on', 'off'), default='auto')
    made.add_argument('--rtx', nargs='?', const=graph.PREFIX, metavar='PREFIX',
                      help='also publish the ray-traced lidar and camera, by OmniGraph')
    made.add_argument('--stage', help='a stage authored elsewhere, instead of authoring it here')
    made.add_argument('--backdrop', metavar='PACK',
                      help='a pack of assets (see isaac_bridge.isaac.assets) to show around it')
    made.add_argument('--asset-root', help="instead of the pack's own, or `default`: "
                      "ISAACSIM_ASSET_ROOT, then Isaac Sim's setting")
    made.add_argument('--cache', default=str(default_cache()))
    made.add_argument('--cache-gb', type=float, default=20.0)
    return made


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The application's own arguments, and those of ROS from --ros-args on."""
    if '--ros-args' not in arguments:
        return arguments, []
    i = arguments.index('--ros-args')
    return arguments[:i], arguments[i:]


def node_arguments(options: argparse.Namespace, ros: list[str]) -> list[str]:
    """What the front end's own command line would be."""
    parameters = {'engine': 'isaac', 'scenario_file': options.scenario,
                  'robot_file': options.robot, 'seed': options.seed, 'camera': options.camera}
    given = [part for name, value in parameters.items() for part in ('-p', f'{name}:={value}')]
    return ['world', *(ros or ['--ros-args']), *given]


def main(arguments: list[str] | None = None) -> int:
    """The front end's status; 1 with one sentence if it could not start."""
    own, ros = split(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(own)
    try:
        for path in (options.scenario, options.robot):
            if not Path(path).is_file():
                raise WorldError(f'there is no file {path}')
        late = _needs_isaac(options)
        start(Options(headless=not options.window, gpu=options.gpu, stage=options.stage,
                      rtx=options.rtx, backdrop=None if late else _backdrop(options)))
        if late:
            show(_backdrop(options))
    except (WorldError, AssetError) as problem:
        print(f'isaac_bridge.isaac: {problem}', file=sys.stderr, flush=True)
        stop(1)
        return 1
    # rclpy comes with Isaac Sim's extension, which runs only now.
    from ..node import main as run_node
    status = run_node(node_arguments(options, ros))
    sys.stdout.flush()
    stop(status)
    return status


def _root(options: argparse.Namespace) -> str | None:
    """Instead of the pack's own, if it is to be another. Raises AssetError."""
    root: str | None = options.asset_root
    return asset_root(setting) if root == 'default' else root


def _needs_isaac(options: argparse.Namespace) -> bool:
    """Whether the backdrop can be fetched by a running Isaac Sim only: from Nucleus, or from a root
    that stands in its settings. What can be fetched before is: a wrong digest then costs no minute.
    """
    if options.backdrop is None:
        return False
    if options.asset_root == 'default' and not os.environ.get(ROOT_VARIABLE):
        return True
    return read_pack(options.backdrop, _root(options)).root.startswith('omniverse://')


def _backdrop(options: argparse.Namespace) -> str | None:
    """The local file of the backdrop's scene. Raises AssetError."""
    if options.backdrop is None:
        return None
    cache = Cache(options.cache, round(options.cache_gb * 2**30))
    return str(cache.fetch(read_pack(options.backdrop, _root(options))))
