"""What the memory of a process means: one package a runtime, none of which knows another."""
