"""What is stored: sources of paintings, their manifest, and the zarr store made from them once."""
