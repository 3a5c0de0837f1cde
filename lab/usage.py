# SPDX-License-Identifier: Apache-2.0
"""What every word of the scenarios' language checks first."""

from paths import LabError


def need(condition: bool, usage: str) -> None:
    """Refuses a line that is not of the word's form."""
    if not condition:
        raise LabError(f"this word is written `{usage}`")
