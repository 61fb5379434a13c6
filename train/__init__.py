"""What is learned: the embedder, its training, its calibration, and the verdict on two paintings."""
