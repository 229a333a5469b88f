"""From an HTTP request to its answer: who calls, what they may, is it well formed, then the operation."""

import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from botocore.model import OperationModel, ServiceModel

from facetrain.local.sagemaker import authorize, constraints, wire
from facetrain.local.sagemaker.authorize import Authority, Caller, Context
from facetrain.local.sagemaker.errors import ServiceError
from facetrain.local.sagemaker.operations import JOB_RESOURCE, Operations, job_arn

log = logging.getLogger(__name__)

Handler = Callable[[Caller, Mapping[str, Any]], dict[str, Any]]
Need = tuple[str, str, Context]  # action, resource, condition context


class Service:
    """Answers requests. Thread-safe: the server calls `handle` from many threads."""

    def __init__(self, model: ServiceModel, operations: Operations, authority: Authority) -> None:
        self._model, self._operations, self._authority = model, operations, authority
        self._handlers: Mapping[str, Handler] = {
            "CreateTrainingJob": operations.create_training_job,
            "DescribeTrainingJob": operations.describe_training_job,
            "ListTrainingJobs": operations.list_training_jobs,
            "StopTrainingJob": operations.stop_training_job,
            "AddTags": operations.add_tags,
            "DeleteTags": operations.delete_tags,
            "ListTags": operations.list_tags,
        }

    def handle(self, request: wire.Request) -> wire.Response:
        try:
            return self._handle(request)
        except ServiceError as error:
            return wire.error_answer(error)
        except Exception:
            # The caller must get an answer that its client understands, and we must see the error.
            log.exception("an error of the endpoint")
            return wire.error_answer(
                ServiceError("InternalFailure", "An error of the endpoint: see its log", 500)
            )

    def _handle(self, request: wire.Request) -> wire.Response:
        caller = self._authority.authenticate(request)
        operation = self._operation(wire.operation_name(request))
        document = wire.parse(request.body)
        for action, resource, context in self._needs(operation.name, caller, document):
            authorize.require(self._authority, caller, action, resource, context)
        assert operation.input_shape is not None  # every operation here has one
        constraints.check(operation.input_shape, document)
        answer = self._handlers[operation.name](caller, document)
        return wire.answer(operation.output_shape, answer)

    def _operation(self, name: str) -> OperationModel:
        if name in self._handlers:
            return self._model.operation_model(name)
        if name in self._model.operation_names:
            known = ", ".join(self._handlers)
            raise ServiceError(
                "UnknownOperationException",
                f"SageMaker has {name}, the endpoint on this machine has not. It has: {known}.",
            )
        raise ServiceError("UnknownOperationException", f"SageMaker has no operation {name}")

    def _needs(self, operation: str, caller: Caller, document: Mapping[str, Any]) -> Iterator[Need]:
        """The permissions that a request takes, before anything else is told about it."""
        action, store = f"sagemaker:{operation}", self._operations.registry.store
        if operation == "ListTrainingJobs":
            yield action, "*", {}
            return
        name, resource = self._target(caller, document)
        if operation == "CreateTrainingJob":
            yield action, resource, authorize.create_context(document)
            if document.get("Tags"):
                yield "sagemaker:AddTags", resource, authorize.tag_context(document)
            if isinstance(document.get("RoleArn"), str):
                service = {"iam:PassedToService": "sagemaker.amazonaws.com"}
                yield "iam:PassRole", document["RoleArn"], service
            return
        known = store.get(name) is not None
        tags = authorize.resource_context(store.tags(name)) if known else {}
        yield action, resource, {**tags, **authorize.tag_context(document)}

    def _target(self, caller: Caller, document: Mapping[str, Any]) -> tuple[str, str]:
        """The job that a request is about: its name and its ARN."""
        if "ResourceArn" in document:
            arn = str(document["ResourceArn"])
            return arn.partition(JOB_RESOURCE)[2], arn
        name = str(document.get("TrainingJobName", ""))
        return name, job_arn(self._operations.region, caller.account, name)
