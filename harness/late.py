"""numpy, loaded when something of it is first used: `from harness.late import np`.

`harness list` imports every task, and with it all that reads data, but touches no array: numpy would be a quarter of
the time that it takes. Where only functions of one module need numpy they may as well import it themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["np"]

if TYPE_CHECKING:
    import numpy as np
else:

    class _Late:
        """Looks each name up in numpy once, and has it from then on."""

        def __getattr__(self, name: str) -> Any:
            import numpy

            value = getattr(numpy, name)
            setattr(self, name, value)
            return value

    np = _Late()
