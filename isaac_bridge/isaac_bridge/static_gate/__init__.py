"""Holds the Isaac Sim application against Isaac Sim's own wheels, without running either.

    python -m isaac_bridge.static_gate

Checked: every OmniGraph node type with its version, attributes, values and connections; the USD
attributes of the RTX lidar; every Python module, class, function and call that `isaac_bridge.isaac`
uses of Isaac Sim; its extensions, experience, settings and start options. The wheels are read where
pip has put them and never copied; what no wheel holds is in `allow`, each with its reason.
"""
