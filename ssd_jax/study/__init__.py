"""Looking at what a config does with a data set, without training."""
