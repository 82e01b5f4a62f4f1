"""Our regularisers, one file each; the files do not know each other. ``secateur/config/regularizers.py`` names them."""
