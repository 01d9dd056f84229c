"""How commands reach a login node; nothing here knows Slurm."""
