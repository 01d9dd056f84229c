"""How jobs are doing: one poll for all of a connection."""
