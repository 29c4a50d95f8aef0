"""Whether a server of simulation_interfaces 1.5 does what the interfaces' comments say."""
