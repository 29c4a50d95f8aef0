"""One USD scene for a scenario and a robot: the source of what every engine loads.

`author` writes it, `description.read` reads it back as plain numbers, `validation.problems` holds
it against USD's own validators, `check` holds an engine's loaded model against it. All of these
need `usd-core`.
"""
