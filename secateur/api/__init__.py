"""What Python programs call: everything that ``secateur.__all__`` names, and nothing else is promised."""
