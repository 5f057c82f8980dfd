"""The requests to the cloud as metrics and traces name them: method and URL template."""

LOGIN = "POST /v3/auth/tokens"
ID_TOKEN_LOGIN = "POST /v3.0/OS-AUTH/id-token/tokens"  # noqa: S105 - a route
ACCOUNTS = "GET /v3/auth/domains"
INTROSPECTION = "GET /v3/auth/tokens"
UPDATE_MEMBERS = "PUT /v1/cloudimages/members"
JOB = "GET /v1/{project_id}/jobs/{job_id}"
IMAGE_JOB = "GET /v1/cloudimages/job/{job_id}"
MEMBER = "GET /v2/images/{image_id}/members/{member_id}"
LIST = "GET /v2/cloudimages"
UPDATE_MEMBER = "PUT /v2/images/{image_id}/members/{member_id}"
GLANCE_LIST = "GET /v2/images"

ALL = (
    LOGIN,
    ID_TOKEN_LOGIN,
    ACCOUNTS,
    INTROSPECTION,
    UPDATE_MEMBERS,
    JOB,
    IMAGE_JOB,
    MEMBER,
    LIST,
    UPDATE_MEMBER,
    GLANCE_LIST,
)
LISTS = frozenset((LIST, GLANCE_LIST))
"""Requests whose responses may be large."""
