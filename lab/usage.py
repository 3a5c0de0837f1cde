# SPDX-License-Identifier: Apache-2.0
"""What every word of the scenarios' language checks first."""

import re

from paths import LabError


def is_function(text: str) -> bool:
    """Whether it is a function of the host: 3, or 3.2 of a virtual one."""
    return re.fullmatch(r"(0|[1-9][0-9]*)(\.[1-9][0-9]*)?", text) is not None


def need(condition: bool, usage: str) -> None:
    """Refuses a line that is not of the word's form."""
    if not condition:
        raise LabError(f"this word is written `{usage}`")
