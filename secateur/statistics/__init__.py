"""F1, resampling, paired tests and margins: numbers in, numbers out."""
