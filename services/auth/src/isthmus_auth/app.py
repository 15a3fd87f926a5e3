"""The application: routes and resources."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from litestar import Litestar, Request
from litestar.datastructures import State
from litestar.di import Provide
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.plugins.jinja import JinjaTemplateEngine
from litestar.template import TemplateConfig
from litestar.types import ASGIApp
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session, sessionmaker

from isthmus import lifetime
from isthmus.origins import Origins, parse_origin
from isthmus_auth import (
    account,
    admin_api,
    apps,
    consent,
    console,
    device,
    endpoints,
    errors,
    keys,
    login_pages,
    pages,
    provider_sign_in,
    second_steps,
    static,
    templates,
    tokens,
)
from isthmus_auth.answers import Refusal
from isthmus_auth.audit import noted
from isthmus_auth.authorizations import forget_expired
from isthmus_auth.client_documents import Documents
from isthmus_auth.client_keys import ClientKeys
from isthmus_auth.database import migrate, open_engine
from isthmus_auth.gateway_client import open_gateway
from isthmus_auth.headers import with_headers
from isthmus_auth.hosts import with_known_hosts
from isthmus_auth.outbox import last_recorded
from isthmus_auth.parameters import FORM, LONGEST_BODY, Parameters
from isthmus_auth.publisher import Publisher
from isthmus_auth.sealing import Sealing
from isthmus_auth.seed import seed
from isthmus_auth.settings import AuthSettings
from isthmus_auth.signing import SigningKeys
from isthmus_auth.site import Site
from isthmus_auth.sources import Sources
from isthmus_auth.topology import Watch

logger = logging.getLogger("isthmus_auth")

OPENAPI = OpenAPIConfig(
    title="Isthmus: administration",
    version="1",
    path="/api",
    render_plugins=[JsonRenderPlugin(path="/openapi.json")],
)


def create_app(settings: AuthSettings) -> ASGIApp:
    """The ASGI application. Files, database and bus are opened when it starts."""

    @asynccontextmanager
    async def opened(app: Litestar) -> AsyncGenerator[None]:
        async with open_site(settings) as site:
            app.state.site = site
            yield

    app = Litestar(
        route_handlers=[
            pages.root,
            pages.show_sign_in,
            pages.sign_in,
            pages.sign_in_with_passkey,
            pages.sign_out,
            account.show_account,
            account.change_account,
            second_steps.show_step,
            second_steps.take_step,
            login_pages.take_password,
            login_pages.go_on,
            provider_sign_in.begin,
            provider_sign_in.come_back,
            consent.show_consent,
            consent.decide,
            apps.show_apps,
            apps.disconnect,
            device.begin,
            keys.show_keys,
            keys.change_keys,
            device.show_device,
            device.answer_device,
            endpoints.token,
            endpoints.register,
            tokens.revoke_token,
            tokens.introspect,
            endpoints.metadata,
            endpoints.jwks,
            endpoints.service_info,
            endpoints.healthz,
            endpoints.readyz,
            static.file,
            admin_api.ROUTES,
            console.ROUTES,
        ],
        dependencies={
            "site": Provide(_site, sync_to_thread=False),
            "form": Provide(_form),
            "body_bytes": Provide(_body),
        },
        exception_handlers=errors.handlers(),
        lifespan=[opened],
        template_config=TemplateConfig(instance=JinjaTemplateEngine.from_environment(templates.environment())),
        request_max_body_size=LONGEST_BODY,
        openapi_config=OPENAPI,
        include_in_schema=False,
        logging_config=None,
    )
    return with_headers(with_known_hosts(app, Origins.of(settings)))


@asynccontextmanager
async def open_site(settings: AuthSettings) -> AsyncGenerator[Site]:
    """Key, database and publisher, for as long as the app runs."""
    engine = open_engine(settings)
    signing_keys = await asyncio.to_thread(_prepare, engine, settings)
    sessions = sessionmaker(engine, expire_on_commit=False)
    publisher = Publisher(settings, sessions, signing_keys)

    def wake(session: Session) -> None:
        if last_recorded(session):
            publisher.wake()
        if noted(session):
            publisher.audit.wake()

    event.listen(sessions, "after_commit", wake)
    watch = Watch(lambda: publisher.connection)
    publishing = asyncio.create_task(publisher.run(), name="publisher")
    publishing.add_done_callback(_publisher_ended)
    try:
        async with open_gateway(parse_origin(settings.gateway_address)) as gateway:
            yield Site(
                Origins.of(settings),
                sessions,
                signing_keys,
                publisher,
                watch,
                Sources(watch),
                Documents(sessions, local=settings.allow_local_clients),
                ClientKeys(sessions, local=settings.allow_local_clients),
                Sealing(Path(settings.data_dir)),
                gateway,
            )
    finally:
        publishing.cancel()
        await asyncio.wait([publishing])
        engine.dispose()


def _prepare(engine: Engine, settings: AuthSettings) -> SigningKeys:
    """Makes sure of the folder, the schema, what is in it from the start, and the key."""
    folder = Path(settings.data_dir)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with engine.begin() as connection, Session(connection) as session:
        migrate(connection)
        seed(session, settings)
        forget_expired(session)
        session.flush()
    return SigningKeys(folder)


def _publisher_ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        logger.critical("the publisher of policy ended", exc_info=error)
        lifetime.fail("policy can no longer be published")


def _site(state: State) -> Site:
    return state.site


async def _form(request: Request[Any, Any, Any]) -> Parameters:
    kind = request.headers.get("content-type", FORM).partition(";")[0].strip().lower()
    if kind != FORM:
        raise Refusal(415, f"Send the parameters as {FORM}.")
    return Parameters.parse(await request.body(), LONGEST_BODY)


async def _body(request: Request[Any, Any, Any]) -> bytes:
    return await request.body()
