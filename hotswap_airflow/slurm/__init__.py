"""What Slurm's programs return and what they are given. Pure code: no I/O, no clock, no environment."""
