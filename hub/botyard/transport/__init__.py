"""What carries envelopes between robots and the hub: MQTT, and the embedded broker that serves it."""
