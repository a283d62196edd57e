"""Pure folds of the journal: the same records always give the same answer, with no I/O and no clock."""
