"""What exists in the account: settings, stacks and their house defaults. Runs at synth only."""
