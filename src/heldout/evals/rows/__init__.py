"""What a file of examples holds: each row as one conversation that ends with its golden answer."""

from heldout.evals.rows.reading import (
    TURNS,
    Field,
    Reading,
    nothing_in,
    read,
    read_rows,
    unused,
)
from heldout.evals.rows.row import DETECT, Keys, Message, Row
from heldout.evals.rows.sources import Source

__all__ = [
    "DETECT",
    "TURNS",
    "Field",
    "Keys",
    "Message",
    "Reading",
    "Row",
    "Source",
    "nothing_in",
    "read",
    "read_rows",
    "unused",
]
