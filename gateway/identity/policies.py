"""Identity API v3, section "Policies", and the extension OS-ENDPOINT-POLICY."""

from typing import Any

from fabric.identity.v1 import catalog_pb2
from fabric.identity.v1 import policy_pb2 as pb
from fabric.identity.v1.catalog_pb2_grpc import CatalogServiceStub
from fabric.identity.v1.policy_pb2_grpc import PolicyServiceStub as Stub
from fabric.type.v1 import query_pb2
from gateway.core.codec import Text
from gateway.core.crud import crud
from gateway.core.http import Request, Response
from gateway.core.route import Route
from gateway.core.table import Field, Table
from gateway.identity.catalog import ENDPOINTS
from gateway.identity.dialect import collection
from gateway.identity.links import links
from gateway.identity.projects import BOTH

POLICIES = Table(
    singular="policy",
    plural="policies",
    message=pb.Policy,
    service=Stub,
    extra="extra",
    fields=[
        Field("id", "meta.id"),
        Field("type", "type", write=BOTH, required=True, codec=Text(255, min=1), filter=True),
        Field("blob", "blob", write=BOTH, required=True, codec=Text(1 << 20)),
        links("policies"),
    ],
)


def _association(request: Request) -> pb.PolicyAssociation:
    words: Any = request.params
    return pb.PolicyAssociation(**words)


async def associate(request: Request) -> Response:
    message = pb.AddPolicyAssociationRequest(association=_association(request))
    await request.call(request.stub(Stub).AddPolicyAssociation, message)
    return Response(204)


async def check(request: Request) -> Response:
    message = pb.CheckPolicyAssociationRequest(association=_association(request))
    await request.call(request.stub(Stub).CheckPolicyAssociation, message)
    return Response(204)


async def dissociate(request: Request) -> Response:
    message = pb.RemovePolicyAssociationRequest(association=_association(request))
    await request.call(request.stub(Stub).RemovePolicyAssociation, message)
    return Response(204)


async def endpoints(request: Request) -> Response:
    message = pb.ListPolicyEndpointsRequest(policy_id=request.params["policy_id"])
    ids = (await request.call(request.stub(Stub).ListPolicyEndpoints, message)).endpoint_ids
    query = query_pb2.Query()
    query.filters.add(path="meta.id", op=query_pb2.Filter.OP_IN, values=list(ids))
    listed = await request.call(
        request.stub(CatalogServiceStub).ListEndpoints, catalog_pb2.ListEndpointsRequest(query=query)
    )
    return Response(200, collection(request, "endpoints", ENDPOINTS.render_list(listed.endpoints, request)))


async def of_endpoint(request: Request) -> Response:
    message = pb.GetEndpointPolicyRequest(endpoint_id=request.params["endpoint_id"])
    reply = await request.call(request.stub(Stub).GetEndpointPolicy, message)
    return Response(200, {"policy": POLICIES.render(reply, request)})


_ONE = "/v3/policies/{policy_id}/OS-ENDPOINT-POLICY"
_PLACES = (
    "/endpoints/{endpoint_id}",
    "/services/{service_id}",
    "/services/{service_id}/regions/{region_id}",
)

routes = [
    *crud(POLICIES, "/v3", update="PATCH"),
    Route("GET", _ONE + "/endpoints", endpoints),
    Route("GET", "/v3/endpoints/{endpoint_id}/OS-ENDPOINT-POLICY/policy", of_endpoint),
    *(Route("PUT", _ONE + place, associate) for place in _PLACES),
    *(Route("GET", _ONE + place, check) for place in _PLACES),
    *(Route("DELETE", _ONE + place, dissociate) for place in _PLACES),
]
