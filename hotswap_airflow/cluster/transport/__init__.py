"""The ways in which commands reach a login node; no module here knows Slurm."""
