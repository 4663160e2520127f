"""Rewards over HTTP, in the shape that OpenRLHF asks a remote reward model for.

POST /score {"query": [prompt + completion, …], "prompts": [prompt, …]} → {"rewards": [number, …]}
GET /health → {"status": "ok", "model": "token_damage"}; GET /metrics: as Prometheus reads them.
"""

import threading
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Annotated

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram
from prometheus_client.exposition import generate_latest
from pydantic import BaseModel, Field

from goldrm.commands.trained import TrainedModel, plain_text
from goldrm.common.errors import GoldrmError, shown

MAX_TEXTS = 10_000  # of a request; OpenRLHF before 0.10 sends a whole rollout's
MAX_BODY_BYTES = 4_000_000
MAX_DETAIL = 1000  # characters of what is said about a request

Texts = Annotated[list[str], Field(max_length=MAX_TEXTS)]


class ScoreRequest(BaseModel):
    """What is to be scored; other keys, such as OpenRLHF's labels, aren't read.

    Attributes:
        query: prompt and completion in one text; tokens that pad or end it are left out.
        prompts: the prompt that each begins with.
    """

    query: Texts
    prompts: Texts


class Rewards(BaseModel):
    """The reward of each completion, in the order of the request."""

    rewards: list[float]


class Health(BaseModel):
    """That the service answers, and by which recipe's model."""

    status: str
    model: str


class Service:
    """The requests that a model answers, and what is counted of them."""

    def __init__(self, model: TrainedModel) -> None:
        """Nothing asked yet."""
        self._model = model
        self._lock = threading.Lock()  # a request uses all the threads that there are to be
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "goldrm_requests", "Answers of POST /score.", ["status"], registry=self._registry
        )
        self._completions = Counter(
            "goldrm_completions", "Completions scored.", registry=self._registry
        )
        self._seconds = Histogram(
            "goldrm_score_seconds", "Seconds to score a request.", registry=self._registry
        )

    def app(self) -> FastAPI:
        """The routes; what can't be answered is said in one sentence, as `detail`."""
        # The pages of docs_url and redoc_url would be fetched from elsewhere.
        app = FastAPI(title="goldrm", docs_url=None, redoc_url=None, max_body_size=MAX_BODY_BYTES)
        app.add_api_route("/score", self.score, methods=["POST"])
        app.add_api_route("/health", self.health)
        app.add_api_route("/metrics", self.metrics)
        app.add_exception_handler(GoldrmError, _refused)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.middleware("http")(self._counted)
        return app

    def score(self, request: ScoreRequest) -> Rewards:
        """The reward of each completion: of what a query holds after its prompt."""
        prompts, completions = self._split(request)
        with self._lock, self._seconds.time():
            rewards = self._model.score(prompts, completions)
        self._completions.inc(len(rewards))
        return Rewards(rewards=rewards)

    def health(self) -> Health:
        """That the service answers."""
        return Health(status="ok", model=self._model.folder.name)

    def metrics(self) -> Response:
        """What was asked so far, as Prometheus reads it."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    def _split(self, request: ScoreRequest) -> tuple[list[str], list[str]]:
        """Prompts and completions.

        Raises:
            GoldrmError: when there aren't as many, or a query doesn't begin with its prompt.
        """
        tokens = self._model.task.dictionary
        if len(request.query) != len(request.prompts):
            raise GoldrmError(
                f"there are {len(request.query)} texts in query and {len(request.prompts)} in "
                "prompts. Send a prompt for each."
            )
        prompts = [plain_text(prompt, tokens) for prompt in request.prompts]
        completions: list[str] = []
        for number, (query, prompt) in enumerate(zip(request.query, prompts, strict=True)):
            words, count = plain_text(query, tokens).split(), len(prompt.split())
            if words[:count] != prompt.split():
                raise GoldrmError(
                    f"text {number} (counted from 0) of query, {shown(query)}, doesn't begin with "
                    f"its prompt, {shown(prompt)}. Send prompt and completion as one text."
                )
            completions.append(" ".join(words[count:]))
        return prompts, completions

    async def _counted(
        self, request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        response = await answer(request)
        if request.url.path == "/score":
            self._requests.labels(response.status_code).inc()
        return response


def _refused(_: Request, error: Exception) -> Response:
    return _unprocessable(str(error))


def _invalid(_: Request, error: Exception) -> Response:
    """Without FastAPI's echo of what was sent, which may be as large as the request."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"][1:])) or "the request"
    return _unprocessable(f"{name}: {first['msg']}.")


def _unprocessable(detail: str) -> Response:
    return JSONResponse({"detail": f"{detail:.{MAX_DETAIL}}"}, HTTPStatus.UNPROCESSABLE_ENTITY)
