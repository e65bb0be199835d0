"""fenlei (分类): labelled text in, a recurrent text classifier of your own out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

    from fenlei.bundle import Bundle
    from fenlei.decisions import Rule
    from fenlei.estimator import TextClassifier
    from fenlei.recipe import Recipe
    from fenlei.runtime import Predictor

__version__ = "0.1.0"

__all__ = ["Bundle", "Predictor", "Recipe", "Rule", "TextClassifier", "__version__", "load"]

# Found on first use, so that importing fenlei costs nothing and a base install can predict without torch.
_HOMES = {
    "Bundle": "fenlei.bundle",
    "Predictor": "fenlei.runtime",
    "Recipe": "fenlei.recipe",
    "Rule": "fenlei.decisions",
    "TextClassifier": "fenlei.estimator",
}
_TRAIN = ("torch", "sklearn", "scipy", "onnx")  # what the extra `train` brings


def load(folder: str | PathLike[str]) -> Predictor:
    """The classifier saved in ``folder``, ready to predict; needs neither torch nor scikit-learn.

    Errors are those of ``Bundle.load``.
    """
    from fenlei.runtime import Predictor

    return Predictor(folder)


if not TYPE_CHECKING:  # a type checker sees the imports above, and so still finds a misspelt name

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(_import(name), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(globals().keys() | _HOMES.keys())

    def _import(name: str) -> object:
        from importlib import import_module

        try:
            return import_module(_HOMES[name])
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in _TRAIN:
                raise
            install = "pip install -c constraints.txt 'fenlei[train]'"
            raise ImportError(f"{name} needs torch and scikit-learn: {install}") from error
