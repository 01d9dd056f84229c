"""Requests to a login node: programs, their framing, and their answers."""
