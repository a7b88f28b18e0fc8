"""Owns the runs on disk: their format, their states, who owns them, recovery and retention.

Other rooms know a spool by what it promises, never by paths or file names: `begin`, `append` and `finish` in the
tracked process; `recover`, `claim`, `checkpoint`, `release` and `settle` in delivery.
"""
