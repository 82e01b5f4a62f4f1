"""Files of rows as they come: encodings, dialects, compression, columns, spellings of labels."""
