"""The classes that a bundle's configuration may name, and the check that it names no others.

A MONAI configuration can run any code: `_target_` names any callable, `$` is an expression, `%` reads another file,
`_mode_` can start a debugger. Unless the administrator has pinned the bundle's digest, its configuration may therefore
only name the classes listed here, with plain values as their arguments.
"""

from typing import Any

from inference.errors import BundleForbidden

_NETWORKS = (
    "BasicUNet", "UNet",
    "DenseNet", "DenseNet121", "DenseNet169", "DenseNet201", "DenseNet264", "EfficientNet", "EfficientNetBN", "ResNet",
    "SEResNet50", "SEResNet101", "SEResNet152", "SEResNext50", "SEResNext101", "SENet154",
    "resnet10", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
)  # fmt: skip
_TRANSFORMS = (
    "AdjustContrast", "CastToType", "CenterSpatialCrop", "ClipIntensityPercentiles", "Compose", "EnsureChannelFirst",
    "EnsureType", "GaussianSharpen", "GaussianSmooth", "HistogramNormalize", "Identity", "MedianSmooth",
    "NormalizeIntensity", "RepeatChannel", "Resize", "ResizeWithPadOrCrop", "ScaleIntensity", "ScaleIntensityRange",
    "ScaleIntensityRangePercentiles", "SpatialPad", "SqueezeDim", "ToTensor", "Transpose",
)  # fmt: skip
_OWN = (
    "inference.efficientnet_lite.EarlyLayers",
    "inference.efficientnet_lite.EfficientNetLite",
    "inference.ensemble.Ensemble",
    "inference.preprocess.CentreSquare",
)

#: From the name in a configuration to the full name that is imported. MONAI's short names are allowed too.
ALLOWED: dict[str, str] = (
    {name: f"monai.networks.nets.{name}" for name in _NETWORKS}
    | {name: f"monai.transforms.{name}" for name in _TRANSFORMS}
    | {f"monai.networks.nets.{name}": f"monai.networks.nets.{name}" for name in _NETWORKS}
    | {f"monai.transforms.{name}": f"monai.transforms.{name}" for name in _TRANSFORMS}
    | {name: name for name in _OWN}
)
_SPECIAL = {"_target_", "_disabled_", "_desc_"}


def vet(config: Any, where: str) -> Any:
    """Return `config` with every class name written in full. `where` names `config` in error messages.

    Raises BundleForbidden for anything but listed classes and plain values.
    """
    if isinstance(config, dict):
        return {_key(key, where): _value(key, value, f"{where}.{key}") for key, value in config.items()}
    if isinstance(config, list):
        return [vet(value, f"{where}[{i}]") for i, value in enumerate(config)]
    if isinstance(config, str) and config.startswith(("$", "%", "@")):
        raise BundleForbidden(
            f"{where} is {config[:60]!r}: expressions ($), references (@) and macros (%) run only in a bundle whose "
            "digest the administrator has pinned (model.digest)"
        )
    return config


def _key(key: str, where: str) -> str:
    if key.startswith("_") and key not in _SPECIAL:
        raise BundleForbidden(f"{where} has the key {key!r}: of MONAI's special keys only _target_, _disabled_ and "
                              "_desc_ are allowed")  # fmt: skip
    return key


def _value(key: str, value: Any, where: str) -> Any:
    if key == "_target_":
        if not isinstance(value, str) or value not in ALLOWED:
            raise BundleForbidden(f"{where} names {value!r}, which is not among the allowed networks and transforms; "
                                  "pin the bundle's digest (model.digest) to run it anyway")  # fmt: skip
        return ALLOWED[value]
    if key in ("pretrained", "progress") and value:
        raise BundleForbidden(f"{where} asks for a download, but a bundle must hold its own weights")
    return vet(value, where)
