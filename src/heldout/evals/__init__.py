"""The exact evaluation of a fixed held-out set in one forward pass. Torch ends in this package."""
