"""The things that people name: ids and values only, pure code."""
