"""Makes the gate's options and fixtures available in a checkout that is not installed."""

pytest_plugins = ["medsam_core.plugin.plugin"]
