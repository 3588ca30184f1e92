"""The commands of `medsam-core`, a module each.

Each has `add_parser(subparsers)`, which declares the command and its options, and `run(arguments)`, which returns the
exit code. Modules that are slow to import are imported in `run`, so that --help is quick.
"""
