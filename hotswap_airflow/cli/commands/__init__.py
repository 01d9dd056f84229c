"""One file per command. Each adds its parser with ``add_command``; its ``action`` returns the exit status."""
