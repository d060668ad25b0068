"""Files of weights as flat dicts of numpy arrays, read without the frameworks that wrote them.

No reader runs code of a file, and none takes more memory than a small multiple of the file's size.
"""

from ssd_jax.weight_files.read import FORMATS, read

__all__ = ["FORMATS", "read"]
