"""The vocabulary: immutable values, states and their texts, and the JSON contract; no I/O."""
