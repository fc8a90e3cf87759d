"""What every process stands on."""

import os

# gRPC's fork handlers now and then crash the process that starts another program (grpcio 1.85, uvloop forks); no child
# of ours uses gRPC before it is another program.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "0"
