"""Builds a graph that is described as data in a running Isaac Sim."""

from ..world import WorldError
from .graph import Graph


def build(wanted: Graph) -> None:
    """Raises WorldError if a node's version is not the one that the graph was written for."""
    import omni.graph.core as og
    for node in wanted.nodes:
        version = og.GraphRegistry().get_node_type_version(node.type)
        if version != node.version:
            raise WorldError(f'the OmniGraph node {node.type} has version {version} here, not '
                             f'{node.version}: this is not Isaac Sim 6.2')
    og.Controller.edit(
        {'graph_path': wanted.path, 'evaluator_name': wanted.evaluator},
        {og.Controller.Keys.CREATE_NODES: [(node.name, node.type) for node in wanted.nodes],
         og.Controller.Keys.SET_VALUES: [(f'{node.name}.{attribute}', value)
                                         for node in wanted.nodes
                                         for attribute, value in node.values],
         og.Controller.Keys.CONNECT: [(link.source, link.target) for link in wanted.links]})
