"""Sensors: they wait, deferred, for jobs that somebody else submitted to a cluster."""
