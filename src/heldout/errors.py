"""The errors heldout raises, and nothing else of ours is raised on purpose.

    HeldoutError
    ├── ConfigError       a setting is unknown, of the wrong type, or missing
    ├── DataError         a data file cannot be used at all
    │   └── EmptySet      the held-out set has no usable example
    ├── ModelError        the model or tokenizer cannot be used for what was asked
    ├── JournalError      a journal cannot be opened
    │   └── JournalBusy   another process is writing it
    └── RunNotFound       no run of that name in the folder

A message names the thing, its value and what would work.
"""

from __future__ import annotations


class HeldoutError(Exception):
    """The parent of every error heldout raises; the command line prints it without a traceback."""


class ConfigError(HeldoutError):
    """A setting is unknown, of the wrong type, or missing."""


class DataError(HeldoutError):
    """A data file cannot be used at all."""


class EmptySet(DataError):
    """The held-out set has no usable example."""


class ModelError(HeldoutError):
    """The model or tokenizer cannot be used for what was asked."""


class JournalError(HeldoutError):
    """A journal cannot be opened."""


class JournalBusy(JournalError):
    """Another process is writing this journal."""


class RunNotFound(HeldoutError):
    """No run of that name in the folder."""
