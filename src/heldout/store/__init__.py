"""The append-only journal on disk, and the folder of runs that holds journals."""
