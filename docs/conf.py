"""How the documentation is built."""

project = "hotswap-airflow"
author = "The hotswap-airflow authors"
copyright = author
extensions = ["myst_parser"]
html_theme = "furo"
html_title = project
exclude_patterns = ["_build"]
myst_heading_anchors = 3
