"""Policies behind one small protocol (base.py): Triton, ONNX on board, hold."""
