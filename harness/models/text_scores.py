"""Scores on texts, by the field's reference implementations: sacreBLEU, rouge-score, edit distances, entities.

Answers are tokens (B, U), -100 or END and beyond left out; `task.said` turns them into the words that are compared
with the references.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.models.scores import Score
from harness.tasks.base import Task

TEXT_SCORES: dict[str, Callable[[Task], Score]] = {}
"""Name -> score. Filled below."""
