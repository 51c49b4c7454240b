"""What was claimed, held against what was measured."""
