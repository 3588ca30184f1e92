"""The commands of `medsam-core`: each module has `add_parser(subparsers)` and `run(arguments) -> exit code`."""
