"""What a file of examples holds: each row as one conversation that ends with its golden answer."""

from heldout.evals.rows.reading import TO_LINES, TURNS, read_rows
from heldout.evals.rows.row import DETECT, Keys, Message, Row

__all__ = ["DETECT", "TO_LINES", "TURNS", "Keys", "Message", "Row", "read_rows"]
