"""The accuracy gate as a test: `medsam-core run` and `pytest --pyargs medsam_core.suite` run it in any folder."""
