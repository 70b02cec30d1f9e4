"""Runs out of other people's files, one file a format; each has `read`, and `write` where the format can hold a table.

They give the same `RunTable` as `RunTable.read`: nothing is dropped in silence, and `repair` means the same.
"""
