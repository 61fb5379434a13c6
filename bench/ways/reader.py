"""This project's reader, every row checked once before."""

from bench.ways.measure import Rounds, arguments
from pipeline.reader import Reader
from preprocess.store import open_store

store, size, _ = arguments()
rounds, reader = Rounds(store, size), Reader(open_store(store), size)
for start in range(0, len(rounds.memory), 1000):
    reader.read(range(start, min(start + 1000, len(rounds.memory))))
rounds.reads(reader.read)
