"""The second channel: a process of its own that withholds safety/enable when the reflex dies.

It shares no code with safety_reflex or node_kit, runs without rclpy, and decides by one question
only: does the reflex's heartbeat live?
"""
