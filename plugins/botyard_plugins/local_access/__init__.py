"""Who may come in, by default: this machine, and whoever knows the hub's token."""
