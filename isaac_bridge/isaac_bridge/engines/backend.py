"""MuJoCo with its renderer chosen, which its first import reads once: import it from here."""

from .egl import choose_backend

choose_backend()
import mujoco  # noqa: E402

__all__ = ['mujoco']
