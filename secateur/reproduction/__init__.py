"""A registered version built again: from its commit, data version and parameters, compared file by file."""
