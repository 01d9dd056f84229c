"""What Slurm says and is told. Pure: no I/O, no clock, no environment."""
