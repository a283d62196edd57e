"""Readers of the journal: status file, page, terminal, report, exports. They decide nothing."""
