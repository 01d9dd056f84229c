"""Operators: they render and defer; workers never open ssh."""
