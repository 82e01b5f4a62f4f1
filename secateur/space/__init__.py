"""What nobody needs any more: what is still referred to, and what may go."""
