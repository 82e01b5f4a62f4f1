"""What the stages measured -> one self-contained HTML page. Pure: nothing but its own templates is read."""
