"""Owns what happens in the user's process: `track`, the live run, the captured streams, the encoding of values.

Nothing in this room may raise into a solver, write to the network or change what the user's program prints.
"""
