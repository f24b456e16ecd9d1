"""scipy's special functions, imported when they are needed: the extra `lab` brings them."""

from __future__ import annotations

from typing import Any

from cxr_infer.errors import UsageError
from cxr_infer.extras import install_command, missing_package


def special() -> Any:
    """The module scipy.special. Raises UsageError where scipy is not installed."""
    try:
        import scipy.special
    except ImportError as error:
        raise UsageError(missing_package("scipy", install_command("lab"))) from error
    return scipy.special
