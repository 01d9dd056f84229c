"""The script of a job, as text."""
