"""When a project runs again: schedules, drift of rows and of live traffic, sources that moved, and whether to retrain."""
