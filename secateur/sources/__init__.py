"""Where rows lie: folders, addresses, the hub; what is fetched of them, and what is packed."""
