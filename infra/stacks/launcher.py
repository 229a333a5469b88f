"""From a manifest in the inputs bucket to a training job: rule, queue, function, and a regular look round."""

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from aws_cdk import CfnOutput, Duration, RemovalPolicy, Stack, StackSynthesizer
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra import bundle, names
from infra.components.launcher_role import LauncherRole, Reach
from infra.components.notifications import Notifications
from infra.components.queues import LaunchQueues
from infra.components.retention import keep_for
from infra.settings import Settings
from infra.stacks.storage import StorageStack
from training.jobs import contract
from training.jobs.platform import Platform

TIMEOUT = Duration.minutes(1)
AT_ONCE = 5  # functions that the queue may keep busy; an account's first limit is ten in all
BATCH = 5  # messages of which each may list and start, within TIMEOUT


class LauncherStack(Stack):
    """`function`, `queues`, and the deployment's description in SSM for those who use it."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        storage: StorageStack,
        notifications: Notifications,
        training_role: iam.IRole,
        images: Mapping[str, str],
        synthesizer: StackSynthesizer | None = None,
    ) -> None:
        super().__init__(scope, name, synthesizer=synthesizer, description="Facetrain: starts training jobs")
        self._settings = settings
        self.queues = LaunchQueues(self, "Queues", stage=settings.stage, handling=TIMEOUT)
        platform = self._platform(storage, notifications, training_role, images).to_json()
        log_group = self._log_group()
        reach = Reach(
            inputs=storage.inputs,
            outputs=storage.outputs,
            key=storage.key,
            queue=self.queues.queue,
            topic=notifications.topic,
            topic_key=notifications.key,
            log_group=log_group,
            training_role=training_role,
        )
        role = LauncherRole(self, "Role", settings=settings, reach=reach)
        self.function = self._function(role, log_group, platform)
        self._feed_from_queue()
        self._send_manifests_to_queue(storage)
        self._reconcile()
        self._describe(platform)

    def _platform(
        self,
        storage: StorageStack,
        notifications: Notifications,
        training_role: iam.IRole,
        images: Mapping[str, str],
    ) -> Platform:
        settings = self._settings
        return Platform(
            stage=settings.stage,
            region=self.region,
            account=self.account,
            role_arn=training_role.role_arn,
            images=images,
            inputs_bucket=storage.inputs.bucket_name,
            outputs_bucket=storage.outputs.bucket_name,
            job_prefix=settings.job_prefix,
            kms_key_arn=storage.key.key_arn,
            allowed_buckets=settings.allowed_buckets,
            subnets=settings.subnets,
            security_groups=settings.security_groups,
            network_isolation=settings.network_isolation,
            topic_arn=notifications.topic.topic_arn,
            defaults=settings.resources,
            tags=settings.tags,
            governance_required=settings.governance_required,
        )

    def _log_group(self) -> logs.LogGroup:
        group = logs.LogGroup(
            self,
            "Log",
            log_group_name=names.launcher_log_group(self._settings.stage),
            removal_policy=RemovalPolicy.DESTROY,
        )
        keep_for(group, self._settings.log_retention_days)
        return group

    def _function(self, role: iam.IRole, log_group: logs.ILogGroup, platform: str) -> lambda_.Function:
        with TemporaryDirectory() as folder:  # the CDK copies it into the cloud assembly at once
            bundle.write(Path(folder))
            return lambda_.Function(
                self,
                "Function",
                function_name=names.launcher(self._settings.stage),
                description="Starts a training job for each manifest",
                runtime=lambda_.Runtime.PYTHON_3_14,
                architecture=lambda_.Architecture.ARM_64,
                handler=bundle.HANDLER,
                code=lambda_.Code.from_asset(folder),
                role=role,
                log_group=log_group,
                timeout=TIMEOUT,
                memory_size=512,  # for its share of a processor: importing boto3 is most of a cold start
                retry_attempts=0,  # by the clock: the next time is soon enough
                environment={
                    "FACETRAIN_PLATFORM": platform,
                    "FACETRAIN_QUEUE_URL": self.queues.queue.queue_url,
                },
            )

    def _feed_from_queue(self) -> None:
        """Not by reserved concurrency: a new account, with ten in all, has none to reserve."""
        self.function.add_event_source_mapping(
            "FromQueue",
            event_source_arn=self.queues.queue.queue_arn,
            batch_size=BATCH,
            max_concurrency=AT_ONCE,
            report_batch_item_failures=True,
        )

    def _send_manifests_to_queue(self, storage: StorageStack) -> None:
        events.Rule(
            self,
            "ManifestDropped",
            rule_name=names.manifest_rule(self._settings.stage),
            description="A manifest in the inputs bucket starts training",
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [storage.inputs.bucket_name]},
                    "object": {"key": events.Match.wildcard(contract.MANIFEST_KEY_PATTERN)},
                },
            ),
            targets=[targets.SqsQueue(self.queues.queue, dead_letter_queue=self.queues.dead)],
        )

    def _reconcile(self) -> None:
        events.Rule(
            self,
            "Reconcile",
            rule_name=f"{self._settings.job_prefix}-reconcile",
            description="Starts what an event was lost for",
            schedule=events.Schedule.rate(Duration.minutes(self._settings.reconcile_minutes)),
            targets=[
                targets.LambdaFunction(
                    self.function,
                    event=events.RuleTargetInput.from_object({"reconcile": True}),
                    retry_attempts=0,
                )
            ],
        )

    def _describe(self, platform: str) -> None:
        parameter = ssm.StringParameter(
            self,
            "Platform",
            parameter_name=contract.platform_parameter(self._settings.stage),
            string_value=platform,
            description="This deployment, as its users' tools read it",
        )
        CfnOutput(self, "FunctionName", value=self.function.function_name)
        CfnOutput(self, "QueueUrl", value=self.queues.queue.queue_url)
        CfnOutput(self, "DeadLetterQueueUrl", value=self.queues.dead.queue_url)
        CfnOutput(self, "PlatformParameter", value=parameter.parameter_name)
