"""For tests of workflows: a sandbox of real Slurm clusters, and a double for situations that these cannot show."""
