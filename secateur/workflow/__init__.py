"""The workspace, the stage graph, the identity of a stage, its store and its drivers."""
