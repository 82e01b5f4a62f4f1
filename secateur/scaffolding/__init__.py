"""What ``secateur init`` writes: a table is looked at, parameters are chosen with reasons, a project is laid out."""
