"""Checks of site files, each of one topic."""
