"""How long logs are kept, in the days that the settings name."""

from aws_cdk import CfnResource
from constructs import IConstruct


def keep_for(group: IConstruct, days: int) -> None:
    """Set a log group's retention, or a LogRetention's. The constructs take an enumeration, not a number."""
    resource = group.node.default_child or group.node.find_child("Resource")
    assert isinstance(resource, CfnResource)
    resource.add_property_override("RetentionInDays", days)
