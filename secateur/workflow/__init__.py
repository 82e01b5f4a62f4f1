"""The workspace, the stage graph, its store and its drivers."""
