"""From a volume and prompts to masks: prompts, checkpoints, the model, the predictor."""
