"""What people and programs talk to: REST, WebSocket and the dashboard's files."""
