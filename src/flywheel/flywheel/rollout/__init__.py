"""Rollouts: which robot gets which release, when, and when it is taken back."""
