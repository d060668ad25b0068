"""What anchors cover in a data set, before anything is trained; clusters and proposals."""
