"""What the gate can judge: any program that turns a volume and prompts into masks."""
