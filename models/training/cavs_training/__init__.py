"""Trains the built-in model pack `cavs-nano`. See README.md beside this package."""
