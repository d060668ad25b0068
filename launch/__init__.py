"""The command line."""

from .memory import restart_with_huge_pages

# Before the slow imports of the commands, and before they allocate.
restart_with_huge_pages()
