"""Runs built by hand: no model, no image."""

from tests.made_runs import command, make_record, make_run, recall

__all__ = ["command", "make_record", "make_run", "recall"]
