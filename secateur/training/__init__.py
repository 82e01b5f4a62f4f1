"""One training loop, shared by the dense model and by the recovery of a pruned one."""
