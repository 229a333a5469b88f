"""A monthly budget that warns before money is spent and not only after."""

from aws_cdk import Stack, StackSynthesizer
from aws_cdk import aws_budgets as budgets
from constructs import Construct

from infra.settings import Settings

WARNINGS = (("ACTUAL", 50), ("ACTUAL", 90), ("FORECASTED", 100))  # kind, percent of the amount


class BudgetStack(Stack):
    """The whole account's spending: a stage's own would need cost allocation tags, switched on by hand."""

    def __init__(
        self,
        scope: Construct,
        name: str,
        *,
        settings: Settings,
        amount: float,
        email: str,
        synthesizer: StackSynthesizer | None = None,
    ) -> None:
        super().__init__(scope, name, synthesizer=synthesizer, description="Facetrain: the monthly budget")
        subscriber = budgets.CfnBudget.SubscriberProperty(address=email, subscription_type="EMAIL")
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=f"{settings.job_prefix}-monthly",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(amount=amount, unit="USD"),
            ),
            notifications_with_subscribers=[
                _warning(kind, percent, subscriber) for kind, percent in WARNINGS
            ],
        )


def _warning(
    kind: str, percent: int, subscriber: budgets.CfnBudget.SubscriberProperty
) -> budgets.CfnBudget.NotificationWithSubscribersProperty:
    return budgets.CfnBudget.NotificationWithSubscribersProperty(
        notification=budgets.CfnBudget.NotificationProperty(
            notification_type=kind,
            comparison_operator="GREATER_THAN",
            threshold=percent,
            threshold_type="PERCENTAGE",
        ),
        subscribers=[subscriber],
    )
