"""What belongs to whom on a cluster, and what may be removed."""
