"""A file as text: YAML with places, the causes of errors in it, and numbers as they were written."""
