"""Statistics of a fixed held-out set, as pure functions of arrays."""
