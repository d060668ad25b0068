"""Training: the state, the update rule, one sharded step, and the loop around it."""
