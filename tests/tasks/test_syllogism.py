"""Syllogisms against hand-made cases."""

import itertools
from pathlib import Path

import pytest

from hybrid_pipeline.tasks.reasoning_gym import ReasoningGymTask
from hybrid_pipeline.tasks.syllogism import (
    Syllogism,
    canonical_syllogism,
    read_syllogism,
    verify_syllogism,
)

SYLLOGISM = ReasoningGymTask(
    source="reasoning_gym", generator="syllogism", num_train=8, num_validation=2, num_test=2
)


@pytest.mark.parametrize(
    ("first", "second", "conclusion", "follows"),
    [
        ("All b are c", "All a are b", "All a are c", True),  # Barbara
        ("No b are c", "All a are b", "No a are c", True),  # Celarent
        ("All b are c", "Some a are b", "Some a are c", True),  # Darii
        ("No b are c", "Some a are b", "Some a are not c", True),  # Ferio
        ("All c are b", "No a are b", "No a are c", True),  # Camestres
        ("All b are c", "All b are a", "Some a are c", True),  # Darapti: terms have members
        ("All b are c", "All a are b", "Some c are a", True),  # Barbari, converted
        ("All c are b", "All a are b", "All a are c", False),  # undistributed middle
        ("Some b are c", "Some a are b", "Some a are c", False),
        ("No b are c", "No a are b", "No a are c", False),
        ("Some a are not b", "All c are b", "Some b are not a", False),
        ("All a are b", "Some b are not c", "Some a are not c", False),  # reasoning_gym: Yes
    ],
)
def test_the_verifier_knows_the_traditional_moods(first, second, conclusion, follows):
    prompt = f"{first}. {second}.\n{conclusion}?"
    assert verify_syllogism(prompt, [int(follows)])
    assert not verify_syllogism(prompt, [int(not follows)])


def test_generated_syllogisms_are_short_and_right():
    examples = list(itertools.islice(Syllogism("s", SYLLOGISM, Path()).examples(), 300))
    assert {e.answer[0] for e in examples} == {0, 1}
    for example in examples:
        assert verify_syllogism(example.prompt, example.answer)
        assert len(example.prompt) < 130
        assert len(read_syllogism(example.prompt)) == 3


def test_swapped_premises_share_a_name():
    assert canonical_syllogism("All a are b. No b are c.\nNo a are c?") == canonical_syllogism(
        "No b are c. All a are b.\nNo A are c?"
    )
