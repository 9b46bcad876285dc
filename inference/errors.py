"""What can go wrong between an image and its probabilities.

    InferenceError
    |-- BundleError             the bundle cannot be used as it is
    |   |-- BundleNotFound      there is no bundle, or a file that its layout requires is missing
    |   |-- BundleForbidden     it names a class, an expression or a pickle that is not allowed
    |   |-- DigestMismatch      its content is not what was pinned
    |   `-- WeightsMismatch     the weights do not fit the network
    |-- ImportRefused           a foreign model cannot be turned into a bundle
    |-- PullFailed              a download was interrupted or refused
    |   `-- Unreachable         the address of the file cannot be reached, or there is no file there
    |-- EngineError             the requested engine is missing or cannot run this network
    |-- SelfCheckFailed         the golden input does not give the expected probabilities
    |-- DataError               a data directory cannot be used: what is missing or wrong, and where
    `-- BadImage                an array is not an image

Messages name files, classes and shapes. They never contain a patient's data.
"""


class InferenceError(Exception):
    """Any error that this package raises on purpose."""


class BundleError(InferenceError):
    """The bundle cannot be used as it is."""


class BundleNotFound(BundleError):
    """There is no bundle, or a file that its layout requires is missing."""


class BundleForbidden(BundleError):
    """The bundle contains more than tensors and listed classes."""


class DigestMismatch(BundleError):
    """The bundle's content is not the content that was pinned."""


class WeightsMismatch(BundleError):
    """The weights do not fit the network that the bundle describes."""


class ImportRefused(InferenceError):
    """A foreign model cannot be turned into a bundle."""


class PullFailed(InferenceError):
    """A download was interrupted, is too large, or was redirected away from https."""


class Unreachable(PullFailed):
    """The file cannot be reached: no network, no such host or file, or a certificate that is not trusted."""


class EngineError(InferenceError):
    """The requested engine is missing, or cannot run this network."""


class SelfCheckFailed(InferenceError):
    """The golden input does not give the probabilities that the bundle states."""


class BadImage(InferenceError):
    """An array that is not a two-dimensional picture of finite float32."""


class DataError(InferenceError):
    """The data directory cannot be used: what is missing or wrong, and where."""
