"""A file as text: YAML with places, what a person did wrong in it, numbers as they were written."""
