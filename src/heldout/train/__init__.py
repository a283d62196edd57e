"""`heldout train`: from a config to a fine-tuned, watched model, with TRL and PEFT underneath."""
