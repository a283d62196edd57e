"""The live page: a read-only server over the folder of runs, and the built front end it serves."""
