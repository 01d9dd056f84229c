"""Operators: they render a job and defer. Workers never open an ssh connection."""
