"""JSON as REST framework writes it, by a faster library."""

import json
from collections import OrderedDict
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from uuid import uuid4

from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from rest_framework.renderers import JSONRenderer
from rest_framework.test import APITestCase
from rest_framework.utils.serializer_helpers import ReturnDict, ReturnList

from ctj_api.http.renderers import OrjsonRenderer
from ctj_api.models import Opportunity
from ctj_api.serializers import OpportunityReadSerializer, SkillReadSerializer

from .common import make_opportunity, make_pm_user, make_skill


class RendererTests(APITestCase):
    """The same text means the same, of a row of columns, an instance and the declared fields."""

    def test_client_gets_values_as_rest_framework_writes_them(self) -> None:
        """Times are not shifted silently; ids, texts of all kinds and nothing are alike."""
        serializer = SkillReadSerializer()
        moment = datetime(2026, 11, 23, 8, 5, tzinfo=UTC)
        values: list[Any] = [
            moment,
            moment.replace(microsecond=120_000),
            moment.replace(microsecond=7),
            uuid4(),
            lazystr("later"),
            mark_safe("<b>safe</b>"),
            "Zoë ☂ \U0001f600 \u2028",
            ReturnDict({"a": [1, 2.5, True, None]}, serializer=serializer),
            ReturnList([OrderedDict(b=())], serializer=serializer),
        ]
        for value in values:
            with self.subTest(repr(value)):
                self.assertEqual(
                    json.loads(OrjsonRenderer().render({"value": value})),
                    json.loads(JSONRenderer().render({"value": value})),
                )
        elsewhere = moment.replace(tzinfo=timezone(timedelta(hours=-8)))
        self.assertEqual(OrjsonRenderer().render([elsewhere]), b'["2026-11-23T08:05:00-08:00"]')
        self.assertEqual(OrjsonRenderer().render(None), b"")

    def test_client_gets_rows_and_instances_as_the_fields_declare(self) -> None:
        """Each field, by the field's own way of telling it; with and without somebody who posted it."""
        make_opportunity({make_skill(): 3, make_skill(): 5}, created_by=make_pm_user())
        make_opportunity({}, created_by=None, min_experience_required="senior")
        serializer = OpportunityReadSerializer()
        for instance in Opportunity.objects.with_details():
            columns = OpportunityReadSerializer.columns.values()
            row = Opportunity.objects.values_list(*columns).get(pk=instance.pk)
            told = serializer.to_representation(row)
            with self.subTest(instance):
                self.assertEqual(list(told), list(serializer.fields))
                self.assertEqual(serializer.to_representation(instance), told)
                written = json.loads(OrjsonRenderer().render(told))
                self.assertEqual(written, {**written, **self.declared(serializer, instance)})
                self.assertEqual(written["skills_required"], told["skills_required"])

    def declared(self, serializer: OpportunityReadSerializer, instance: Opportunity) -> dict[str, Any]:
        """Return what REST framework makes of the fields; without an author there is nothing to ask for the address."""
        asked = {name: field for name, field in serializer.fields.items() if name != "skills_required"}
        if instance.created_by is None:
            del asked["created_by"]
        told = {name: field.to_representation(field.get_attribute(instance)) for name, field in asked.items()}
        plain: dict[str, Any] = json.loads(JSONRenderer().render(told))
        return plain
