"""When a project runs again: schedules, drift of rows and live traffic, sources that moved, and whether to retrain."""
