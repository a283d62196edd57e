"""The guard of a folder of runs: it looks whether trainers live, with none of them needed to say so.

It reads journals and never writes them. What it finds goes into `heartbeat.jsonl` beside them, and to
the notifier. That file's lock lets one guard of several write a change, and one of them tell of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from heldout import host
from heldout.derive.history import ENDS
from heldout.derive.pulse import Pulse
from heldout.errors import JournalBusy, JournalError
from heldout.records import AnyRecord, Note, Run, Samples, Verdict
from heldout.store import bulk
from heldout.store.foreign import is_journal
from heldout.store.heartbeat import FILE_NAME, SEEN, TOLD, last_seen, last_verdict, untold
from heldout.store.identity import Identity
from heldout.store.journal import FILE_NAME as JOURNAL_NAME
from heldout.store.journal import Journal, read
from heldout.store.runs import list_runs, open_run
from heldout.verdicts.heartbeat import Limits, Signs, duration, judge_heartbeat
from heldout.verdicts.life import ACTIVE
from heldout.views.notify.notifier import Notifier

log = logging.getLogger("heldout")

LOOK_SECONDS = 15.0
END_BYTES = 1 << 16
"""Where a run ended, its end is this near the journal's."""
PART_BYTES = 1 << 22
"""A journal is read in parts of this size, so that a long one needs no memory for all its records."""

PAUSE_SECONDS = 0.1
"""Between two parts, for whoever this process answers meanwhile."""

Clock = Callable[[], float]


class Watched:
    """One run as a guard knows it.

    How long its journal is quiet counts from the look that saw it grow, by a clock that nobody sets;
    before the first look, by the file's and the records' times where they are this machine's own.
    """

    def __init__(self, folder: Path, clock: Clock, monotonic: Clock) -> None:
        self.folder = folder
        self.pulse = Pulse()
        self.last: Verdict | None = None
        """The heartbeat's last verdict, by whichever viewer."""
        self._journal = folder / JOURNAL_NAME
        self._sidecar = folder / FILE_NAME
        self._clock, self._monotonic = clock, monotonic
        self._size = self._offset = 0
        self._identity = Identity()
        self._quiet, self._since = 0.0, monotonic()
        self._claimed: Verdict | None = None
        self._unkept: Verdict | None = None
        self._warned = False

    @property
    def active(self) -> Verdict | None:
        """The alert that stands, if one does."""
        return self.last if self.last is not None and self.last.state in ACTIVE else None

    def look(self) -> list[Verdict]:
        """Look once; returns the change of the alert, if this look was the first to see it.

        Raises `OSError` when the journal cannot be read.
        """
        signs = self._seen()
        return self._write(signs) if signs and self._judged(signs) else []

    def see(self) -> Verdict | None:
        """Look once and write nothing: the alert as it stands now, resolved ones included.

        Raises `OSError` when the journal cannot be read.
        """
        signs = self._seen()
        found = self._judged(signs) if signs else []
        return found[-1] if found else self.last

    def _seen(self) -> Signs | None:
        """What is seen of the trainer now; None where there is nothing to judge any more."""
        self._follow()
        run = self.pulse.history.run
        if run is not None and _is_here(run) and host.is_alive(run) is False:
            self._follow()  # what it wrote before it went away
        history = self.pulse.history
        if history.run is None or (history.ended and not self.active):
            return None
        return self._signs(history.run)

    def claim(self) -> Verdict | None:
        """Return the alert's last change if nobody was notified of it yet; this process does it now."""
        if untold(self._sidecar) is None:
            return self._claim_unkept()
        try:
            with closing(Journal(self._sidecar)) as sidecar:
                verdict = untold(self._sidecar)
                if verdict == self._claimed:
                    return None  # told, and the full disk took no note of it
                self._claimed = verdict
                if verdict is not None:
                    step, now = self.pulse.history.step, self._clock()
                    sidecar.append([Note(step=step, time=now, topic=TOLD, text=verdict.state)])
                return verdict
        except JournalBusy:
            return None  # at the next look
        except JournalError as error:
            self._warn(error)
            return self._claim_unkept()

    def remember(self) -> None:
        """Note the journal's length for the next process's look: the clock of another host is no measure."""
        run = self.pulse.history.run
        if run is None or _is_here(run) or self.pulse.history.ended:
            return
        seen = last_seen(self._sidecar)
        if seen is not None and seen[0] == self._offset:
            return
        step, now = self.pulse.history.step, self._clock()
        try:
            with closing(Journal(self._sidecar)) as sidecar:
                sidecar.append([Note(step=step, time=now, topic=SEEN, text=str(self._offset))])
        except JournalError as error:
            self._warn(error)

    def describe(self) -> str:
        """The run in one line."""
        name, history = self.folder.name, self.pulse.history
        if history.ended or history.run is None:
            return f"{name}: {history.ended or 'nothing recorded yet'}"
        if self.active:
            return f"{name}: {self.active.evidence.get('state')}, {self.active.message}"
        return (
            f"{name}: alive at step {history.step:,}, last sign {duration(self._quiet_seconds)} ago"
        )

    @property
    def _quiet_seconds(self) -> float:
        return self._quiet + self._monotonic() - self._since

    def _follow(self) -> None:
        """Take in what was appended since the last look; of a run that has ended only its end."""
        stat = self._journal.stat()
        if stat.st_size == self._size:
            return
        if not self._identity.holds(self._journal):  # another run took its place
            self.pulse, self._identity, self._size = Pulse(), Identity(), 0
        first = not self._size
        if first:
            self.last = last_verdict(self._sidecar)
            self._offset = 0 if self.active else _start(self._journal, stat.st_size)
        for records, end in _parts(self._journal, self._offset):
            for record in records:
                self.pulse.add(record)
            self._offset = end
        self._identity.remember(self._journal, self._offset)
        self._size = stat.st_size
        self._since = self._monotonic()
        self._quiet = self._quiet_before(stat.st_mtime) if first else 0.0

    def _quiet_before(self, written: float) -> float:
        """How long the journal was quiet before this process first saw it, last `written` then."""
        run, now = self.pulse.history.run, self._clock()
        if run is None:
            return 0.0
        if _is_here(run):
            return max(0.0, now - max(written, self.pulse.history.time))
        seen = last_seen(self._sidecar)
        return max(0.0, now - seen[1]) if seen and seen[0] == self._offset else 0.0

    def _signs(self, run: Run) -> Signs:
        here = _is_here(run)
        return Signs(
            quiet_seconds=self._quiet_seconds,
            step_seconds=self.pulse.step_seconds,
            longest_pause=self.pulse.longest_pause,
            bytes=self._offset,
            alive=host.is_alive(run) if here else None,
            rebooted=host.is_rebooted(run, self.pulse.history.time) if here else None,
        )

    def _judged(self, signs: Signs) -> list[Verdict]:
        history = self.pulse.history
        if self.last is not None:
            history.add(self.last)
        return judge_heartbeat(history, signs, self._clock(), Limits())

    def _write(self, signs: Signs) -> list[Verdict]:
        """Judge again behind what other viewers wrote, and write the change; [] if they were first."""
        try:
            with closing(Journal(self._sidecar)) as sidecar:
                self.last = last_verdict(self._sidecar)
                found = self._judged(signs)
                sidecar.append(found, durable=True)
        except JournalBusy:
            return []  # another viewer is telling of it now
        except JournalError as error:  # a folder that only others may write: tell all the same
            self._warn(error)
            found = self._judged(signs)
            self._unkept = found[-1] if found else None
        self.last = found[-1] if found else self.last
        return found

    def _claim_unkept(self) -> Verdict | None:
        """The same for what could not be written, which no other process knows."""
        verdict, self._unkept = self._unkept, None
        return verdict

    def _warn(self, error: JournalError) -> None:
        if not self._warned:
            log.warning("what the guard finds is not kept: %s", error)
        self._warned = True


class Guard:
    """Looks after every run in a folder; of several guards with a notifier one tells of a change."""

    def __init__(
        self,
        root: Path,
        notifier: Notifier | None = None,
        clock: Clock = time.time,
        monotonic: Clock = time.monotonic,
    ) -> None:
        self.root = root
        self.runs: dict[Path, Watched] = {}
        self._notifier = notifier
        self._clocks = clock, monotonic

    def look(self) -> list[tuple[Watched, Verdict]]:
        """Look at every run once; returns what changed. A run that cannot be read is passed over."""
        found = []
        for folder in self._folders():
            run = self.runs.setdefault(folder, Watched(folder, *self._clocks))
            try:
                changes = run.look()
            except OSError as error:  # deleted, or a file system that is away
                log.warning("%s: cannot be looked at: %s", folder, error.strerror or error)
                continue
            except Exception:  # one run must not hide the others
                log.exception("%s: cannot be looked at", folder)
                continue
            found += [(run, verdict) for verdict in changes]
            self._tell(run)
        return found

    @property
    def active(self) -> list[Verdict]:
        """The alerts that stand."""
        return [run.active for run in self.runs.values() if run.active is not None]

    def remember(self) -> None:
        """Note what the next process cannot know; for guards that look once (see `Watched`)."""
        for run in self.runs.values():
            run.remember()

    def follow(self, stop: threading.Event, told: Callable[[Watched, Verdict], None]) -> None:
        """Look every 15 seconds until `stop`; `told` gets each change."""
        while True:
            try:
                for run, verdict in self.look():
                    told(run, verdict)
            except Exception:  # one look that fails must not end the guard
                log.exception("the guard failed at a look")
            if stop.wait(LOOK_SECONDS):
                return

    def _folders(self) -> Sequence[Path]:
        try:
            return list_runs(self.root)
        except OSError:  # a run was deleted while they were listed
            return list(self.runs)

    def _tell(self, run: Watched) -> None:
        """Notify of what changed, whichever guard has found it: one without a notifier tells nobody."""
        verdict = run.claim() if self._notifier else None
        if self._notifier is None or verdict is None:
            return
        if verdict.state == "resolved":
            self._notifier.remember(run.pulse.history, verdict)
        self._notifier([verdict], run.pulse.history)


def look_once(path: Path) -> None:
    """Look whether the trainer of the run at `path` lives, before it is shown as it is now.

    Of a folder of runs its latest is meant. A path that holds no journal is left to who shows it.
    """
    with suppress(OSError):
        if path.exists() and is_journal(path):
            Guard(open_run(path).parent).look()


def seen(path: Path) -> Verdict | None:
    """What is seen now of the trainer of the run at `path`, of a folder its latest; nothing is written.

    None where there is nothing to tell, and for another tool's log.
    """
    with suppress(OSError):
        if is_journal(path):
            return Watched(open_run(path).parent, time.time, time.monotonic).see()
    return None


@contextmanager
def guarding(guard: Guard) -> Iterator[None]:
    """Follow the runs in a thread of its own while the body runs."""
    stop = threading.Event()
    thread = threading.Thread(
        target=guard.follow, args=(stop, lambda run, verdict: None), daemon=True, name="guard"
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()


def _is_here(run: Run) -> bool:
    return bool(run.pid) and run.host == host.name()


def _start(path: Path, size: int) -> int:
    """Where to read a journal from: its end if that says that the run has ended, else its beginning."""
    near = max(0, size - END_BYTES)
    records, _ = read(path, near)  # a line that begins before is no record, and passed over
    ends = [i for i, each in enumerate(records) if isinstance(each, Note) and each.topic in ENDS]
    starts = [i for i, each in enumerate(records) if isinstance(each, Run)]
    return near if ends and (not starts or starts[-1] < ends[-1]) else 0


def _parts(path: Path, offset: int) -> Iterator[tuple[list[AnyRecord | Samples], int]]:
    """Yield the records behind `offset` part by part, each with the offset behind it."""
    while True:
        records, end = bulk.read(path, offset, PART_BYTES, bare=True)
        if end == offset:
            return
        yield records, end
        if end - offset >= PART_BYTES:
            time.sleep(PAUSE_SECONDS)
        offset = end
