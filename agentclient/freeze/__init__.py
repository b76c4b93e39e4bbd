"""The pure freeze and thaw machines, and the judgement on them."""
