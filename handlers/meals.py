"""What a group eats today."""

from __future__ import annotations

from app.texts.i18n import N_, NN_, render
from handlers.base import Audience, GroupData, GroupEventHandler
from handlers.fields import Names

NOT_PLANNED = N_("not planned yet")


class Meals(GroupData, kw_only=True):
    """The dishes of a day."""

    breakfast: Names
    lunch: Names
    dinner: Names


class DailyMeal(GroupEventHandler[Meals]):
    """The plan of a day's meals."""

    event_type = "daily_meal"
    category = "meals"
    icon = "food"
    data_type = Meals
    audience = Audience.HEAD_CHEF
    title = N_("Today's menu of the group %(group_name)s")
    content = NN_(
        "%(dishes)d dish today. Breakfast: %(breakfast)s. Lunch: %(lunch)s. Dinner: %(dinner)s.",
        "%(dishes)d dishes today. Breakfast: %(breakfast)s. Lunch: %(lunch)s. Dinner: %(dinner)s.",
    )

    def params(self, data: Meals, locale: str) -> dict[str, object]:
        """The dishes of each meal as a list in the form of a language."""
        meals = {"breakfast": data.breakfast, "lunch": data.lunch, "dinner": data.dinner}
        named = {
            meal: ", ".join(filter(str.strip, dishes)) or render(locale, NOT_PLANNED, {})
            for meal, dishes in meals.items()
        }
        return {"dishes": self.count(data), **named}

    def count(self, data: Meals) -> int:
        """The number of dishes, for the plural form."""
        return sum(1 for dish in (*data.breakfast, *data.lunch, *data.dinner) if dish.strip())
