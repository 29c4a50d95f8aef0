"""Alembic's folder. A new revision is written by hand: one file in `versions`."""
