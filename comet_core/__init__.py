"""CoMet, Confident Meta-Learning for anomaly detection on uncurated images: a companion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from comet_core.estimator import CoMet

__all__ = ["CoMet"]


def __getattr__(name: str) -> Any:
    # Imported when asked for, so that `import comet_core.results` does not load PyTorch.
    if name == "CoMet":
        from comet_core.estimator import CoMet

        return CoMet
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
