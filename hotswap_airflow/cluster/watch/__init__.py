"""The state of jobs: one poll for all jobs of a connection."""
