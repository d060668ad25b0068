"""Looking at what configs do with a data set: before training, and over the runs of a sweep."""
