"""Loads and runs engines. Imports nothing of ours but `stepwell.errors`."""
