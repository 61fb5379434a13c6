"""The whole tf.data pipeline as training consumes it: pairs drawn, pictures read, augmentation drawn, prefetched."""

from bench.ways.measure import PICTURES, Rounds, arguments
from pipeline.dataset import training_dataset
from pipeline.reader import Reader
from pipeline.streams import Pairs, rows_by_label
from preprocess.store import open_store
from train.augment import drawer

PREFETCH = 4

place, size, _ = arguments()
rounds, store = Rounds(place, size), open_store(place)
reader = Reader(store, size)
for start in range(0, len(rounds.memory), 1000):
    reader.read(range(start, min(start + 1000, len(rounds.memory))))
stream = Pairs(rows_by_label(store.rows["row"].to_numpy(), store.rows["label"].to_numpy()), PICTURES // 2, 0)
dataset = training_dataset(reader, stream, drawer("paintings", 0), 0, 10**9, PREFETCH)
rounds.feed(iter(dataset), PREFETCH + 2)
