"""Pure decisions: (observation, policy, now) in, a decision with its reason out. No clock, no SDK, no SQL."""
