"""One file a command; each adds its parser by ``add_command``, and its ``action`` gives the exit status."""
