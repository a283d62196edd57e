"""The verdict on a run, as text and as JSON."""
