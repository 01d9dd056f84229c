"""What earlier tries of a job left: their notes, and the table of a sweep's elements."""
