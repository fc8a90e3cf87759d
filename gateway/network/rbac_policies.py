"""Networking API v2.0, section "RBAC policies"."""

from fabric.network.v1 import rbac_policy_pb2 as pb
from fabric.network.v1.rbac_policy_pb2_grpc import RbacPolicyServiceStub
from gateway.core.codec import Text
from gateway.core.table import Table
from gateway.network.resource import BOTH, Resource, shown

NAMED = Text(255, min=1)

RBAC_POLICIES = Table(
    singular="rbac_policy",
    plural="rbac_policies",
    message=pb.RbacPolicy,
    service=RbacPolicyServiceStub,
    fields=[
        shown("id", "meta.id"),
        shown("project_id", "meta.project_id", write="create", aliases=("tenant_id",)),
        shown("object_type", "spec.object_type", write="create", required=True, codec=NAMED),
        shown("object_id", "spec.object_id", write="create", required=True, codec=NAMED),
        shown("action", "spec.action", write="create", required=True, codec=NAMED),
        shown("target_tenant", "spec.target", write=BOTH, required=True, codec=NAMED),
    ],
)

routes = Resource(RBAC_POLICIES).routes()
