"""The Isaac Sim 6.2 application: an engine behind the world's protocol, under the same front end.

Nothing here imports Isaac Sim when it is imported itself. `graph`, `rtx_lidar`, `beams` and
`assets` are pure; `session` starts Isaac Sim; `kit_scene` and `graph_build` are all that calls it
afterwards; `world` is the engine; `app` and `doctor` are what one runs.

None of it has ever run on a GPU: the static gate (`isaac_bridge.static_gate`) holds what it uses
against Isaac Sim's own wheels.
"""
