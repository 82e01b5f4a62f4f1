"""The stages, one file each: references in, references out."""
