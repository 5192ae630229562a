//! End to end tests over real processes, a real nats-server, real SDKs and the simulator.
