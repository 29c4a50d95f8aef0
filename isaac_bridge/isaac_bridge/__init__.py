"""Simulated worlds behind one protocol, and their ROS 2 front end."""
