"""Plans that someone has to carry out."""

from __future__ import annotations

from app.texts.i18n import N_
from handlers.base import GroupData, GroupEventHandler
from handlers.fields import Name


class PlanData(GroupData, kw_only=True):
    """A plan."""

    plan_id: int


class PlanWithDeadline(PlanData, kw_only=True):
    """A plan and its deadline."""

    deadline: Name


class AssignedPlan(PlanWithDeadline, kw_only=True):
    """A plan, its deadline and who carries it out."""

    assignee_username: Name


class ReportedPlan(PlanData, kw_only=True):
    """A plan and who carried it out."""

    assignee_username: Name


class PlanAssigned(GroupEventHandler[AssignedPlan]):
    """A plan was assigned to someone."""

    event_type = "plan_assigned"
    category = "plans"
    icon = "calendar"
    data_type = AssignedPlan
    title = N_("Plan #%(plan_id)s was assigned")
    content = N_(
        "Plan #%(plan_id)s of the group %(group_name)s was assigned to %(assignee_username)s. "
        "Deadline: %(deadline)s."
    )


class PlanReported(GroupEventHandler[ReportedPlan]):
    """A plan was reported as done."""

    event_type = "plan_reported"
    category = "plans"
    severity = "success"
    icon = "check"
    actor_field = "assignee_username"
    data_type = ReportedPlan
    title = N_("Plan #%(plan_id)s was reported")
    content = N_("%(assignee_username)s reported on plan #%(plan_id)s of the group %(group_name)s.")


class PlanExpired(GroupEventHandler[PlanWithDeadline]):
    """A plan's deadline has passed."""

    event_type = "plan_expired"
    category = "plans"
    severity = "warning"
    icon = "clock"
    data_type = PlanWithDeadline
    title = N_("Plan #%(plan_id)s is overdue")
    content = N_("Plan #%(plan_id)s of the group %(group_name)s passed its deadline: %(deadline)s.")
