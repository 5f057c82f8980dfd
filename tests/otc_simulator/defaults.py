"""The users without a seed: those of an owner's account and of a recipient's. Data only."""

from typing import Any

REGION = "eu-de"

DOMAIN = "OTC-EU-DE-00000000001000000001"
USER = "acceptor"
PASSWORD = "correct-horse-battery-staple"
USER_ID = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa01"
PROJECT = "eu-de_recipient"
PROJECT_ID = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa10"

OWNER_DOMAIN = "OTC-EU-DE-00000000001000000002"
OWNER_USER = "sharer"
OWNER_PASSWORD = "incorrect-horse-paper-clip"
OWNER_USER_ID = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb01"
OWNER_PROJECT = "eu-de_owner"
OWNER_PROJECT_ID = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb10"

SEED: dict[str, Any] = {
    "accounts": [
        {
            "name": DOMAIN,
            "users": [{"id": USER_ID, "name": USER, "password": PASSWORD}],
            "projects": [{"id": PROJECT_ID, "name": PROJECT}],
        },
        {
            "name": OWNER_DOMAIN,
            "users": [{"id": OWNER_USER_ID, "name": OWNER_USER, "password": OWNER_PASSWORD}],
            "projects": [{"id": OWNER_PROJECT_ID, "name": OWNER_PROJECT}],
        },
    ]
}
