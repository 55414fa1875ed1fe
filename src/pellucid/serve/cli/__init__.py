"""The commands of the model server, a module each. Importing one is cheap: what it needs it imports when it runs."""
