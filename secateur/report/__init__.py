"""What the stages measured -> one HTML page, the terminal's columns, a sentence. Pure: only its templates are read."""
