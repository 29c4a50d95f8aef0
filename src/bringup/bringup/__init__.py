"""Turns a target profile into running nodes; the demo, its report, and replay."""
