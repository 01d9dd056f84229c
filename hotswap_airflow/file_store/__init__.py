"""Files by content in a shared folder: versions of workflows, results of sweeps."""
