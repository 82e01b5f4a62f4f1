"""Which structures go: criteria, allocation of a budget, schedule, rounds."""
