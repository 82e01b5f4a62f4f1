"""When a project runs again: schedules, drift of the rows, sources that moved, and whether to retrain."""
