"""Files of rows as they come: encodings, dialects, columns, spellings of labels."""
