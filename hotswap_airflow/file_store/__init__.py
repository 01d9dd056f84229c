"""Files by content on a shared folder: versions of workflows, results of sweeps."""
