"""The ways to pictures that bench.pairs compares, each a program: `python -m bench.ways.NAME STORE SIZE FOLDER`."""
