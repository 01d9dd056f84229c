"""Triggers: tasks wait for their jobs here, in the triggerer, never in a worker."""
