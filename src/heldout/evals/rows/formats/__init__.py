"""One source format a file; the folder is the list."""
