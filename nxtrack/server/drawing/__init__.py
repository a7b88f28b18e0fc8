"""How values, logs and assets are shown: as folding trees, terminal text, charts and maps."""
