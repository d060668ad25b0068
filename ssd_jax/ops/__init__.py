"""Pure functions on the arrays of one image: import nothing but jax and numpy, vmap for a batch."""
