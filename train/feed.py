"""How a run is fed on this machine: its pictures stream from the store, lie in memory, or lie on the accelerator."""

import sys

from pipeline.budget import Budget, Choice, Needs, choose, memory_left
from pipeline.dataset import accelerator_left
from pipeline.feeds import PARALLEL_READS, Places, Readable, Source, Tick, idle, load, table
from pipeline.reader import Reader
from pipeline.split import TRAIN, VALIDATION, side_rows
from preprocess.common.config import Pipeline
from train.run import Run
from train.table import WORD, Table


class Feed:
    """The pictures of one run; says on standard error which way was chosen, and why."""

    def __init__(self, run: Run, settings: Pipeline, tick: Tick = idle) -> None:
        """`tick` is called while pictures are loaded, which may take long. Raises ConfigError where the feed that the
        settings ask for does not fit."""
        self.run, self.settings, self.tick = run, settings, tick
        self.rows, _ = side_rows(run.split, TRAIN)
        self.choice = choose_feed(run, settings)
        self.held: tuple[int, Source, Table | None] | None = None
        print(self.choice.why, file=sys.stderr, flush=True)

    def validation(self) -> Readable:
        """Return where validation pictures come from: memory where training pictures do, else the store."""
        reader = self.reader(self.run.settings.size)
        rows, _ = side_rows(self.run.split, *VALIDATION)
        return load(reader, rows, self.tick) if self.choice.feed == "memory" else reader

    def training(self, size: int) -> tuple[Source, Table | None]:
        """Return where training pictures of `size` pixels come from, and the table that holds them on the device."""
        stored = self.run.store.size_for(size)
        if self.held is None or self.held[0] != stored:
            self.held = None  # two tables may be more than there is room for
            self.held = stored, *self.opened(self.reader(stored))
        return self.held[1:]

    def reader(self, size: int) -> Reader:
        """Return a reader of the run's store that verifies as the settings say."""
        return Reader(self.run.store, size, self.settings.verify)

    def opened(self, reader: Reader) -> tuple[Source, Table | None]:
        """See `training`."""
        if self.choice.feed == "memory":
            return load(reader, self.rows, self.tick), None
        if self.choice.feed == "device":
            return Places(self.rows), Table(table(reader, self.rows, WORD.itemsize, self.tick), reader.size)
        return reader, None


def choose_feed(run: Run, settings: Pipeline) -> Choice:
    """Return the feed for a run on this machine, and why."""

    def picture(size: int) -> int:
        return run.store.size_for(size) ** 2 * 3

    training, validation = (len(side_rows(run.split, *sides)[0]) for sides in ((TRAIN,), VALIDATION))
    spans = run.settings.spans
    most = training * max(picture(span.size) for span in spans)
    in_flight = settings.prefetch + PARALLEL_READS + 2  # one with the network, one on its way there
    needs = Needs(
        stream=in_flight * max(span.batch * picture(span.size) for span in spans),
        memory=most + validation * picture(run.settings.size),
        device=most,
    )
    return choose(settings.feed, needs, Budget(settings.memory, memory_left(), accelerator_left()))
