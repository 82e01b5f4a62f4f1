"""Which structures go: criteria, second order, single weights, rounds, repair, recovery, regrowth."""
