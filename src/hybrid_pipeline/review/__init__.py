"""Rules on a configuration: findings with evidence, and the fixes that they suggest."""
