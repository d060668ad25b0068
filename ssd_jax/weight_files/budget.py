"""What reading a file may cost, so that none takes more memory or time than its size explains."""

# Some formats repeat or compress, but weights never do much of either.
_MOST_GROWTH = 4
_SPARE_BYTES = 2**24
# A step is about a microsecond and at most 100 bytes of Python's objects.
_STEPS = 400_000

MOST_DIMENSIONS = 32  # of an array, in numpy before version 2


class Budget:
    """Counts what a reader makes of a file, and raises a ValueError when that is too much.

    Attributes:
        size: of the file, bytes.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._bytes = _MOST_GROWTH * size + _SPARE_BYTES
        self._steps = _STEPS

    def take(self, num_bytes: int, what: str) -> None:
        """Accounts for memory before it is used."""
        self._bytes -= num_bytes
        if self._bytes < 0:
            raise ValueError(
                f"it unpacks to more than {_MOST_GROWTH} times its {self.size:,} bytes: {what} "
                f"takes {num_bytes:,} more; save it again without compression and repetition"
            )

    def step(self, count: int = 1) -> None:
        """Accounts for the small parts of a file: records, names, numbers."""
        self._steps -= count
        if self._steps < 0:
            raise ValueError(
                "it consists of more small parts than a file of weights has; save the weights alone"
            )
