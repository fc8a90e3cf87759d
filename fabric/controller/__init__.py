"""The fabric-controller process: every gRPC service and every cluster-wide loop."""
