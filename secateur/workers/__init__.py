"""What a worker does with what it was sent: a stage. It is started by name, and nothing imports it."""
