"""Sensors: wait, deferred, for what somebody else began on a cluster."""
