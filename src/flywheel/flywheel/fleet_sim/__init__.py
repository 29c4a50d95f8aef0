"""A fleet in simulation: robots with faults, the real rollout engine and a real database."""
