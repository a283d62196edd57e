"""One signal a file; the folder is the list."""
