"""When a project runs again: schedules, drift of the rows and of live traffic, sources that moved, whether to retrain."""
