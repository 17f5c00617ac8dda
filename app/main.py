"""The FastAPI application: routers, error handlers, lifespan."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from anyio import to_thread
from fastapi import FastAPI

from app import errors, guide, health, validation
from app.aliases.endpoints import router as aliases
from app.artifacts import ArtifactStore, open_store
from app.batch_predictions.endpoints import router as batch_predictions
from app.catalogue.endpoints import router as catalogue
from app.datasets.endpoints import router as datasets
from app.db.session import Database
from app.dependencies import Services
from app.estimates.endpoints import router as estimates
from app.heads.endpoints import router as heads
from app.history.keeper import Keeper
from app.jobs.endpoints import events_router as events
from app.jobs.endpoints import router as jobs
from app.jobs.stream import Streams
from app.jobs.sweeper import Sweeper
from app.keys.endpoints import router as keys
from app.keys.usage import KeyUsage
from app.methods import HeadAndOptions
from app.metrics import Metrics
from app.middleware import RequestLimits, hosts_for
from app.models.endpoints import router as models
from app.openapi import document
from app.predictions.endpoints import joint_router as joint_predictions
from app.predictions.endpoints import router as predictions
from app.predictions.forwarding import Forwarding
from app.predictions.preloading import Preloading
from app.predictions.protocols import PROTOCOLS
from app.predictions.shadow import Shadows
from app.predictions.wire import PredictionWire
from app.projects.endpoints import router as admin
from app.queue import CeleryQueue, JobQueue, MemoryQueue
from app.recommendations.endpoints import router as recommendations
from app.security import Authenticator, refuse_unknown_parameters
from app.serving.engine import Engine
from app.settings import Settings
from app.shares.admission import Shares
from app.shares.limits import Limits
from app.shares.turns import Turns
from app.storage.collector import Collector
from app.storage.endpoints import router as storage
from app.tracking.endpoints import router as tracking
from app.tracking.writer import MlflowWriter
from app.uploads.endpoints import router as uploads
from app.web import pages
from app.webhooks.delivery import Deliverer
from app.webhooks.endpoints import router as webhooks


def create_app(settings: Settings, queue: JobQueue | None = None, artifacts: ArtifactStore | None = None) -> FastAPI:
    """Build the application. `queue` and `artifacts` replace those that the settings name, for tests."""
    database = Database(settings.sql_url, settings.project_limits)
    queue = queue or (CeleryQueue(settings.broker) if settings.broker else MemoryQueue())
    turns = Turns(os.cpu_count() or 1)
    services = Services(
        settings=settings,
        database=database,
        artifacts=artifacts or open_store(settings),
        queue=queue,
        engine=Engine(settings.loaded_models, max_bytes=settings.loaded_bytes),
        metrics=Metrics(database, queue),
        shadows=Shadows(database, turns),
        shares=Shares(Limits.of(settings)),
        turns=turns,
    )
    app = FastAPI(
        title="Graftwork",
        summary="Transfer learning as a service: pretrain one backbone, fine-tune many heads, predict.",
        version="0.1.0",
        lifespan=_lifespan,
        docs_url=None,  # the page shows it, without anything of another host
        redoc_url=None,
        openapi_url="/openapi.json" if settings.docs else None,
    )
    app.state.services = services
    app.state.key_usage = KeyUsage(database)
    app.state.authenticator = Authenticator(database, app.state.key_usage)
    app.state.streams = Streams(database)
    app.state.basic_prefixes = tuple(protocol.prefix for protocol in PROTOCOLS if protocol.takes_basic)
    errors.install(app, {protocol.prefix: protocol.error for protocol in PROTOCOLS})
    validation.install(app)
    secured = (
        admin,
        aliases,
        batch_predictions,
        datasets,
        estimates,
        events,
        heads,
        jobs,
        keys,
        models,
        predictions,
        joint_predictions,
        recommendations,
        catalogue,
        storage,
        tracking,
        uploads,
        webhooks,
    )
    foreign = (router for protocol in PROTOCOLS for router in protocol.routers)
    for router in (health.router, health.metrics_router, *secured, *foreign):
        app.router.routes.extend(router.routes)  # complete as they are; `include_router` would build each once more
    app.router.routes.extend(pages.routes(docs=settings.docs, has_guide=lambda: guide.is_built(settings.guide_folder)))
    app.router.routes.extend(guide.routes(settings.guide_folder))
    refuse_unknown_parameters(app.routes)
    app.openapi = lambda: document(app)  # type: ignore[method-assign]
    hosts = hosts_for(settings.host, settings.allowed_hosts)
    elsewhere = settings.predictor.startswith("http")
    authenticator = app.state.authenticator
    app.state.wire = None if elsewhere else PredictionWire(app.state, authenticator)
    shortcut = app.state.wire or Forwarding(settings.predictor, authenticator)
    build = app.build_middleware_stack
    # As a middleware of the framework it would stand behind others, which cost as much as a prediction.
    app.build_middleware_stack = lambda: RequestLimits(  # type: ignore[method-assign]
        HeadAndOptions(build(), app.routes),
        hosts=hosts,
        shares=services.shares,
        metrics=services.metrics,
        shortcut=shortcut,
    )
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    services: Services = app.state.services
    # A thread for every request: a request that can proceed must never wait for one that waits for the database.
    settings = services.settings
    to_thread.current_default_thread_limiter().total_tokens = 2 * settings.max_requests + settings.max_streams
    sweeper = Sweeper(services.database, services.queue, services.settings, rings=bool(settings.broker))
    collector = Collector(services.database, services.artifacts, services.settings)
    keeper = Keeper(services.database, settings)
    preloading = Preloading(services)
    deliverer = Deliverer(services.database, settings, services.metrics)
    sweeper.start()
    collector.start()
    keeper.start()
    preloading.start()
    writer = MlflowWriter(services.database, settings)
    deliverer.start()
    writer.start()
    app.state.key_usage.start()
    yield
    writer.stop()
    deliverer.stop()
    services.shadows.stop()
    app.state.key_usage.stop()
    preloading.stop()
    keeper.stop()
    collector.stop()
    sweeper.stop()
    services.database.close()
