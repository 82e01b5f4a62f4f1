"""Which code a stage uses, and the one digest that it runs under."""
