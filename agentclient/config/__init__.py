"""Settings: their definitions, their values with origins, and the policy of each VM."""
