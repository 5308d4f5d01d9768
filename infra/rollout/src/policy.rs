//! What a subscriber wants: `rollout.yaml`.
