"""One module a topic: each judges what a file says of it, and resolves it for the plan."""
