"""The life of a command: kept, sent, sent again, answered, or given up."""
