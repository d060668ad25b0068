"""Other people's weights, and our own checkpoints, as the beginning of a run."""
