"""DDS Security for a robot: an SROS2 policy in, a keystore out."""
