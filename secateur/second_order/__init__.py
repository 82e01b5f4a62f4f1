"""Second-order pruning: exact errors and updates from one calibration pass (obs), Fisher masks (fisher)."""
