"""Every exception that a user of medsam_core can meet.

Each text says in one sentence what is wrong, what was found, what was expected and how to fix it. Callers catch
`MedsamError`; the command line and the pytest plugin print its text without a traceback.
"""


class MedsamError(Exception):
    """A mistake in what the user gave: a file, an option, a checkpoint, a gate. The base class of all others."""


class DataError(MedsamError):
    """An image, a segmentation or a folder of subjects that cannot be used."""


class LabelError(DataError):
    """A label value that the cohort's label convention does not know, or that is not an integer."""


class MaskError(MedsamError):
    """Masks or distances that cannot be scored: wrong dtype, wrong number of axes, NaN, unusable spacing."""


class ShapeMismatch(MaskError):
    """Two masks of different shapes, or a spacing with another number of axes than its mask."""


class PromptError(MedsamError):
    """A prompt that does not fit the volume, or a prompt manifest that does not fit the cohort."""


class CheckpointError(MedsamError):
    """A checkpoint that is missing, damaged, unsafe to load or of another architecture."""


class DeviceError(MedsamError):
    """A device or a precision that this machine does not have."""


class OptionError(MedsamError):
    """An unknown region, prompt mode, modality, protocol, profile or other choice."""


class GateError(MedsamError):
    """A gates file or a baseline that cannot be used as written."""


class RunError(MedsamError):
    """A run directory that cannot be written, read or resumed."""


class PredictorError(MedsamError):
    """A predictor that cannot be found or started, that fails, or that gives an answer against the contract."""
