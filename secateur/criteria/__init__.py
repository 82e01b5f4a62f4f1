"""Our criteria, one file each; the files do not know each other. ``secateur/config/criteria.py`` names them."""
