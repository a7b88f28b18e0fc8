"""Owns the command line: `main` turns errors into exit statuses, `commands` parses, the other modules do the work.

Nothing is imported here, and `commands` imports a command's module only when that command runs: `nxtrack status`
shall not wait for what only `nxtrack serve` needs.
"""
