"""Quantities read from the training step as it happens: one signal a file in `each`."""
