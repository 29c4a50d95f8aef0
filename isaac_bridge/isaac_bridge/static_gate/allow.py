"""What the application uses and no wheel of Isaac Sim on the package index holds, with the reason.

Kit, its renderer and its bindings come with `isaacsim-extscache-kit`, which is fetched from
elsewhere when it is installed, or are compiled. Each name here stands for exactly itself: using
another one of the same module is a failure until somebody has looked it up and put it here.
"""

from .nodes import NodeType

KIT = 'part of Kit, which is no wheel on the index'
WARP = "warp-lang's array, which Isaac Sim brings along"

PYTHON: dict[str, str] = {
    'omni.graph.core': KIT,
    'omni.graph.core.GraphRegistry': KIT,
    'omni.graph.core.GraphRegistry().get_node_type_version': KIT,
    'omni.graph.core.Controller': KIT,
    'omni.graph.core.Controller.edit': KIT,
    'omni.graph.core.Controller.Keys': KIT,
    'omni.graph.core.Controller.Keys.CREATE_NODES': KIT,
    'omni.graph.core.Controller.Keys.SET_VALUES': KIT,
    'omni.graph.core.Controller.Keys.CONNECT': KIT,
    'warp.array': WARP,
    'warp.array().numpy': WARP,
}

NODES: dict[str, NodeType] = {
    'omni.graph.action.OnPlaybackTick': NodeType(
        'omni.graph.action.OnPlaybackTick', 1, 'omni.graph.action',
        {'outputs:deltaSeconds': 'double', 'outputs:frame': 'double', 'outputs:tick': 'execution',
         'outputs:time': 'double'}, {}, KIT),
}

# Of what the package `isaacsim` exposes when it is imported, by its function expose_api.
ALIASES = {'isaacsim.SimulationApp': 'isaacsim.simulation_app.simulation_app.SimulationApp'}
