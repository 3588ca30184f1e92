"""The viewer of a case: three planes, contours and surfaces in a browser, from files beside the run's page."""

from medsam_core.viewer.names import viewer_script

__all__ = ["viewer_script"]
