"""What is fed: sides of the split, streams of row numbers, and batches of pictures read from the store."""
