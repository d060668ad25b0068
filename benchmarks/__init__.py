"""Other projects' detectors beside ours; not part of the package."""
