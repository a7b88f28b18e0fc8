"""Remote runs: the programs that execute them, one at a time and together."""
