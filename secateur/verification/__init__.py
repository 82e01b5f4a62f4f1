"""What proves that files are those that were published: their list, their digests, keys and signatures."""
