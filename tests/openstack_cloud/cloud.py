"""A cloud of one Keystone and one Glance, each a process of its own, with data of its own."""

import base64
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from string import Template

import httpx

from envtest.processes import Running
from openstack_cloud import installation
from openstack_cloud.glance import Glance
from openstack_cloud.installation import ADMIN_PASSWORD, CONFIG, REGION, UNSET_URL
from openstack_cloud.keystone import Keystone
from openstack_cloud.service import Service

OWNER = "owner"
OWNER_PASSWORD = "owner-password"
MEMBERS_PER_IMAGE = 4
"""`image_member_quota` of Glance. The default is 128."""
TOKEN_CACHE_S = 2
"""How long Glance uses a token without asking Keystone. The default is 300 s."""


class OpenStackCloud(Running):
    """A cloud with an owner of images; used as a context manager.

    Args:
        default_page: images of a page without a limit.
        largest_page: images of a page with any limit: `api_limit_max` of Glance. The default is
            less than the operator asks for, so that it reads several pages.
    """

    region = REGION

    def __init__(self, *, default_page: int = 25, largest_page: int = 100) -> None:
        self._pages = {"default_page": default_page, "largest_page": largest_page}
        self._installation = installation.ensure()
        self.directory = Path(tempfile.mkdtemp(prefix="openstack-"))
        self.identity = self._service("keystone.wsgi.api", "/identity", "OS_KEYSTONE_CONFIG_DIR")
        self.image = self._service("glance.wsgi.api", "/image", "OS_GLANCE_CONFIG_DIR")
        self.keystone = Keystone(self.identity.url)

    def _service(self, module: str, prefix: str, config: str) -> Service:
        return Service(self._installation, module, prefix, directory=self.directory, config=config)

    @property
    def auth_url(self) -> str:
        """The base URL of Keystone, which has a path."""
        return self.identity.url

    @property
    def image_url(self) -> str:
        """The base URL of Glance, which has a path."""
        return self.image.url

    def start(self) -> None:
        """Start both from the template; create the owner and the catalog."""
        shutil.copytree(self._installation.template, self.directory, dirs_exist_ok=True)
        self._set_identity_url()
        self._write_glance_config({})
        for service in (self.identity, self.image):
            service.start()
        self.identity.wait()
        self.keystone.log_in()
        self.image_service_id = self.keystone.image_service(self.image.url)
        project = self.keystone.project(OWNER)
        self._owner_id = self.keystone.user(OWNER, OWNER_PASSWORD, project)
        self.glance = self.glance_of(project, self._owner_token(project, self._owner_id))
        self.image.wait()

    def stop(self) -> None:
        self.identity.close()
        self.image.close()
        self.keystone.close()
        self.glance.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def owner(self, name: str) -> Glance:
        """Create another owner of images; the caller closes it."""
        project = self.keystone.project(name)
        user_id = self.keystone.user(name, OWNER_PASSWORD, project)
        return self.glance_of(project, self._owner_token(project, user_id))

    def glance_of(self, project: str, token: str) -> Glance:
        """A project as an owner of images, with a token for it; the caller closes it."""
        glance = Glance(self.image.url, project, self.directory / "glance.db")
        glance.http.headers["X-Auth-Token"] = token
        return glance

    def publish(self, image: str) -> None:
        """Make an image public, which only the administrator may."""
        self.glance.change(
            image, token=self.keystone.http.headers["X-Auth-Token"], visibility="public"
        )

    def cannot_check_tokens(self) -> bool:
        """Whether Glance knows no token any more, while Keystone is down: it returns 401."""
        return self.glance.http.get("/images").status_code == httpx.codes.UNAUTHORIZED

    @contextmanager
    def glance_settings(self, **changes: object) -> Iterator[None]:
        """Run Glance with other values of its configuration file, then with its own again."""
        self._restart_glance(changes)
        try:
            yield
        finally:
            self._restart_glance({})

    def _restart_glance(self, changes: Mapping[str, object]) -> None:
        self.image.stop()
        self._write_glance_config(changes)
        self.image.start()
        self.image.wait()

    @contextmanager
    def image_endpoints(self, *urls: str) -> Iterator[None]:
        """Have these image endpoints in the service catalog, then that of Glance again."""
        self._set_image_endpoints(urls)
        try:
            yield
        finally:
            self._set_image_endpoints([self.image.url])

    def _set_image_endpoints(self, urls: Sequence[str]) -> None:
        service = self.image_service_id
        for endpoint in self.keystone.endpoints(service):
            self.keystone.delete_endpoint(endpoint)
        for url in urls:
            self.keystone.endpoint(service, url)

    def rotate_keys(self) -> None:
        """Replace all keys of Keystone: no token of before is valid."""
        for key in (self.directory / "fernet").iterdir():
            key.write_bytes(base64.urlsafe_b64encode(secrets.token_bytes(32)))
        self.keystone.log_in()
        token = self._owner_token(self.glance.owner, self._owner_id)
        self.glance.http.headers["X-Auth-Token"] = token

    def expire_password(self, user_id: str) -> None:
        """Let the password of a user be expired, as after `password_expires_days` of Keystone."""
        statement = (
            "update password set expires_at = '2020-01-01', expires_at_int = 1577836800000000 "
            "where local_user_id = (select id from local_user where user_id = ?)"
        )
        database = sqlite3.connect(self.directory / "keystone.db", timeout=60)
        with closing(database), database:
            assert database.execute(statement, (user_id,)).rowcount == 1

    def expire_application_credential(self, credential_id: str) -> None:
        """Let an application credential be expired: Keystone refuses to create such a one."""
        statement = "update application_credential set expires_at = 1577836800000000 where id = ?"
        database = sqlite3.connect(self.directory / "keystone.db", timeout=60)
        with closing(database), database:
            assert database.execute(statement, (credential_id,)).rowcount == 1

    def _owner_token(self, project: str, user_id: str) -> str:
        return self.keystone.token({"id": user_id, "password": OWNER_PASSWORD}, project)

    def command(self, name: str) -> Path:
        """A program of the environment of the servers, such as ``openstack``."""
        return self._installation.bin / name

    def _set_identity_url(self) -> None:
        """Put our port into the catalog: Glance reads it there before anything else is served."""
        with closing(sqlite3.connect(self.directory / "keystone.db")) as database, database:
            database.execute(
                "update endpoint set url = ? where url = ?", (self.identity.url, UNSET_URL)
            )

    def _write_glance_config(self, changes: Mapping[str, object]) -> None:
        template = Template((CONFIG / "glance-api.conf").read_text())
        values: dict[str, object] = {
            **self._pages,
            "auth_url": self.identity.url,
            "admin_user": "admin",
            "admin_password": ADMIN_PASSWORD,
            "members_per_image": MEMBERS_PER_IMAGE,
            "token_cache_s": TOKEN_CACHE_S,
            "paste_file": self._installation.paste_file,
            **changes,
        }
        (self.directory / "glance-api.conf").write_text(template.substitute(values))
