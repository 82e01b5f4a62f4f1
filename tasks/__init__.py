"""The stages, one file each: its declaration, and its body from references to references."""

FORM_OF = "secateur"
