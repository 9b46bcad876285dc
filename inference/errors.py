"""What can go wrong between an image and its probabilities.

    InferenceError
    |-- BundleError             the bundle cannot be used as it is
    |   |-- BundleNotFound      no bundle there, or a file that its layout asks for is missing
    |   |-- BundleForbidden     it names a class, an expression or a pickle that is not allowed
    |   |-- DigestMismatch      its content is not what was pinned
    |   `-- WeightsMismatch     the weights do not fit the network
    |-- ImportRefused           a foreign model cannot be turned into a bundle
    |-- PullFailed              a download broke off, or is not what may be taken
    |   `-- Unreachable         there is no way to where it lies
    |-- EngineError             the engine asked for is absent or cannot run this network
    |-- SelfCheckFailed         the golden input does not give the expected probabilities
    |-- DataError               a data directory cannot be used: what is missing or wrong, and where
    `-- BadImage                an array that is no image

Messages name files, classes and shapes; they never hold anything of a patient.
"""


class InferenceError(Exception):
    """Any error of this package."""


class BundleError(InferenceError):
    """The bundle cannot be used as it is."""


class BundleNotFound(BundleError):
    """There is no bundle, or a file that its layout asks for is missing."""


class BundleForbidden(BundleError):
    """The bundle asks for more than tensors and listed classes."""


class DigestMismatch(BundleError):
    """The bundle's content is not the content that was pinned."""


class WeightsMismatch(BundleError):
    """The weights do not fit the network that the bundle describes."""


class ImportRefused(InferenceError):
    """A foreign model cannot be turned into a bundle."""


class PullFailed(InferenceError):
    """A download broke off, is not there, is too large, or leaves https."""


class Unreachable(PullFailed):
    """There is no way to where the file lies: no network, no such host, a certificate that nobody trusts."""


class EngineError(InferenceError):
    """The engine asked for is absent, or cannot run this network."""


class SelfCheckFailed(InferenceError):
    """The golden input does not give the probabilities that the bundle states."""


class BadImage(InferenceError):
    """An array that is not a two-dimensional picture of finite float32."""


class DataError(InferenceError):
    """The data directory cannot be used: what is missing or wrong, and where."""
