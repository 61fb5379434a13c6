"""The limit against itself: how even this machine is."""

from bench.ways.measure import Rounds, arguments

store, size, _ = arguments()
rounds = Rounds(store, size)
for _ in range(15):
    rounds.note(rounds.limit(), rounds.limit())
rounds.report()
