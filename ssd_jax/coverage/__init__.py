"""The coverage of a data set by anchors before any training; clusters and proposals."""
