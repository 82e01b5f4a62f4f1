"""What a worker does with what it was sent: a stage, part of a sweep, a shard of rows. It is started by its name."""
