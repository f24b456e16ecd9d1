"""scipy's special functions, imported on demand: they need the extra `lab`."""

from __future__ import annotations

from typing import Any

from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command, missing_package


def special() -> Any:
    """Return the module scipy.special. Raises UsageError if scipy is not installed."""
    try:
        import scipy.special
    except ImportError as error:
        raise UsageError(missing_package("scipy", install_command("lab"))) from error
    return scipy.special
