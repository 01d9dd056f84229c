"""What is asked of a login node: programs, their framing, and their answers."""
