"""For tests of workflows: a sandbox of real Slurm clusters, and a double for what a real one will not do."""
