"""What earlier tries of a job left: their notes, and a sweep's table of elements."""
